"""mq-bridge from a slot into a file, until its input ends: URL SLOT FILE. Runs in .build-peers/venv."""
import sys

import mq_bridge

url, slot, path = sys.argv[1:]
route = mq_bridge.Route.from_config({
    "input": {"postgres_cdc": {"url": url, "publication": "bench", "create_publication": False, "slot_name": slot,
                               "create_slot": False, "temporary_slot": False}},
    "output": {"file": {"path": path}},
    "batch_size": 4096,
})
route.start()
sys.stdin.read()
route.stop()
route.join()
