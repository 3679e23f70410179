"""chatglm-magic."""
