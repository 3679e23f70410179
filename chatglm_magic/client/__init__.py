"""HTTP clients: synchronous over requests in the caller's thread, asynchronous over aiohttp.

Both pass bytes to the codecs of :mod:`chatglm_magic.wire` and share everything that does no I/O. Only
:mod:`.transport_errors` handles the errors of the HTTP libraries.
"""
