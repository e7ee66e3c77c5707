"""What others can write where a process of ours reads: made up at random, again and again (``make fuzz``).

``shapes.py``: what is said; ``test_lines.py``: what the master reads; ``test_answers.py``: what ``pytaskctl`` reads of
a supervisor; ``test_redis.py``: what a worker reads from Redis.
"""
