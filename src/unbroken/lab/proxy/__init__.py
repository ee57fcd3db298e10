"""The fault proxy: the lab's faults between a real client and a real provider.

    app.py         FaultProxy: joins the relay's pump, plans, faults and log
    choosing.py    which plan a request goes by, and what is sent upstream for it
    breaking.py    a downstream put before the client's, which deals out the faults
    cutting.py     an upstream's reads, cut into the pieces that faults are counted in
    decoding.py    a compressed body, made readable for faults
    control.py     what is asked of the proxy itself, under /_lab/
    log.py         what passed and what was dealt out; never bodies or keys

Needs aiohttp (the extra ``lab``); so nothing is imported from here.
"""
