"""Where trials run: in this process, or forked from a warm one."""
