"""The process that tells people what happened to the engine, by webhook, Slack, Discord or
Telegram. It reads the engine's shared memory, and nothing waits for it.
"""
