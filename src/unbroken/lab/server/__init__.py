"""The lab's mock server: a scripted model behind sockets that break as they are told.

app.py       LabServer: joins model, sessions, injectors and HTTP
control.py   what is asked of the lab itself: GET / and /_lab/sessions
sessions.py  which plan a request goes by, and the log of what was dealt out
http.py      connections, on the relay's HTTP server
sending.py   one answer on its way out, part by part, and how it ends
physics.py   when each part is due
"""
