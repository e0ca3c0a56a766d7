"""The same hostile cases, given to g3m and to other programs: `python -m bench.attacks`.

`liar` is the server and `lies` is what it does, `goods` what it serves; `trial` runs a program and judges it;
`downloads`, `lists` (with `rows`) and `shards` hold the cases. `torchvision_download` and `webdataset_read`
run in the environments of the peers.
"""
