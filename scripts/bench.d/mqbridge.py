"""mq-bridge from a slot to an output, until its input ends: URL SLOT OUTPUT, as JSON. Runs in .build-peers/venv."""
import json, sys

import mq_bridge

url, slot, output = sys.argv[1:]
route = mq_bridge.Route.from_config({
    "input": {"postgres_cdc": {"url": url, "publication": "bench", "create_publication": False, "slot_name": slot,
                               "create_slot": False, "temporary_slot": False}},
    "output": json.loads(output),
    "batch_size": 4096,
})
route.start()
sys.stdin.read()
route.stop()
route.join()
