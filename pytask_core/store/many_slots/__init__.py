"""The regime for many slots: a cluster whose key names share no hash tag.

No script can reach all keys there. Each transition is a row of steps, each in one slot, atomic and safe to repeat, in
an order that leaves an id in two places rather than in none: first where it goes, then the hash, then away from where
it was. The hash is the truth about a task: its ``owner`` and ``state`` decide, and the sets and queues say where to
look. What a crash leaves between two steps is mended by whoever hands back the dead worker's tasks, and by Monitor's
sweep.

``{new-task}:waiting`` knows which ids we have an entry for in the new queue, so that pushing twice makes no second one.
"""
