"""The network: one question over requests in the caller's thread, or over aiohttp as a task.

Both drivers hand bytes to the codecs of :mod:`chatglm_magic.wire` and share everything that does no I/O;
:mod:`.transport_errors` alone knows the errors of the HTTP libraries.
"""
