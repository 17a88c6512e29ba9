"""Numbers of the plan's model that are measured or set by other packages, not computed."""

MIB = 2**20

# What a process takes beside what the step allocates: threads, libraries loaded late, batches read ahead. On the CPU
# from `benchmarks/plan.py --calibrate`; on an accelerator a CUDA context with its libraries.
CPU_BASE = 90 * MIB
ACCELERATOR_BASE = 1024 * MIB
# What an allocator holds beyond what is asked of it, as a factor on what comes and goes in a step.
CPU_FRAGMENTATION = 1.0
ACCELERATOR_FRAGMENTATION = 1.1

# Lightning's settings of DeepSpeed, in elements: `reduce_bucket_size`, of which there are two, so that one fills while
# the other is reduced; and `stage3_max_live_parameters`, below which stage 3 keeps gathered weights.
ZERO_BUCKET = 200_000_000
ZERO_LIVE = 1_000_000_000

# Share of the maker's FLOP/s and bytes/s that training reaches.
COMPUTE_EFFICIENCY = 0.35
LINK_EFFICIENCY = 0.7
MEMORY_EFFICIENCY = 0.7
HOST_RATE = 20e9  # bytes/s of an update on the host, where states are offloaded

# A plan fits where it leaves so much of the memory to what the model does not know.
HEADROOM = 0.1
