"""Where tasks run. `base` decides what is left to do, `local` runs it on threads of this machine."""
