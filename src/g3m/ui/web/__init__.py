"""The page of g3m: a server for one reader, with asyncio, and everything that it shows."""
