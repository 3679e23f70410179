"""``GLMChatModel``: LangChain's standard suite, and what each server and fault makes of it."""
