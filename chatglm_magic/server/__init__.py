"""The local server: a front that responds immediately, and an engine that computes.

They are two processes because the engine's constructor holds the GIL while it loads a model:

* the **front** (``app``, ``guard``, ``routes``, ``openai_api``, ``chatglm_api``) listens, checks clients and
  requests, and forwards them;
* the **engine** (``engine``) is llama.cpp through xllamacpp, a child process of the front on a loopback port with
  its own key.

It imports nothing from the client's packages, so that a mistake in their codecs can't cancel out on both
sides. Start it with ``python -m chatglm_magic.server``, or from a notebook with ``LocalServer``.
"""
