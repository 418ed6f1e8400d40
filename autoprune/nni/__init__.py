"""The only room that knows NNI's manager: launching, watching, reading results, and the bridge over its faults."""
