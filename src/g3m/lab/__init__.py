"""The lab: drawn data sets in real formats, and a local internet that serves them well or badly.

`g3m demo` and the tests share it, so whatever the demo shows has been tested and whatever is tested
can be watched. Nothing here leaves 127.0.0.1.

`drawings` makes pictures, `sources` and `sbu` pack them as their publishers do, `origin` serves
them, `mischief` spoils the serving, `world` puts it all together; `python -m g3m.lab FOLDER` plays
by hand.
"""
