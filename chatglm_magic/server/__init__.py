"""The local server: a front that answers at once, and an engine that computes.

Two processes, because the engine's constructor holds the interpreter's lock while it loads a model:

* the **front** (`app`, `guard`, `routes`, `openai_api`, `chatglm_api`) listens, checks who asks and what, and
  relays;
* the **engine** (`engine`) is llama.cpp through xllamacpp, a child of the front, on a loopback port with a
  key of its own.

Nothing here imports another room of the package, so that a mistake in the client's codecs can't cancel itself
out on both sides. Start it with `python -m chatglm_magic.server`, or from a notebook with `LocalServer`.
"""
