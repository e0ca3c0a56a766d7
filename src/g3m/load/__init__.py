"""The reading side: what stands on the disk, as samples. It imports neither steps nor ui."""
