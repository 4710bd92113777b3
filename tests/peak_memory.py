"""The most memory a script of a test has held."""

PEAK_KB = '''
def peak_kb() -> int:
    """Of this program alone: getrusage would count the process that started it as well."""
    with open("/proc/self/status") as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith("VmHWM:"))
'''
