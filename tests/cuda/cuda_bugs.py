"""cuda_bugs.py: mistakes that are planted in the PTX that ships, each of which must be found.

pattern, the which-th time it stands in the kernel, becomes replacement; then the check of that name
(tests/cuda/check/) must fail with words that `found` matches: those of the emulator where a check
of accesses finds it, those of a comparison where numbers do."""
import collections

Bug = collections.namedtuple("Bug", "name file kernel pattern which replacement check found "
                                    "schedules short")
NUMBERS = r"the reference says|not all of it was written"
ROWS, EXPERTS, LOSS = "compute_cuda_rows", "compute_cuda_experts", "compute_cuda_loss"
VECTORS, ATTENTION = "compute_cuda_vectors", "compute_cuda_attention"
PRODUCTS, FLASH = "compute_cuda_products", "compute_cuda_flash"
MMA = r"(mma\.sync\S+ \{[^}]*\}), \{(\S+),(\S+),(\S+),(\S+)\}, \{(\S+),(\S+)\}, (\{[^}]*\});"
WGMMA = r"(wgmma\.mma_async\S+ \{[^}]*\}), (%rd\d+), (%rd\d+), ([^;]*);"
HOPPER = "compute_cuda_products_sm90"
IN_FLIGHT = "touches what a copy is about to write"

BUGS = [
    Bug("a barrier is missing before a sum is read", ROWS, "cuda_rmsnorm_f32",
        r"bar\.sync 0;", 1, "", "norm", "read of what nobody wrote|race", 1, True),
    Bug("a barrier is missing before a sum's memory is used again", ROWS, "cuda_seam_forward_f32",
        r"bar\.sync 0;", 2, "", "seam", "race: write after read", 1, True),
    Bug("a row is read one element too far", ROWS, "cuda_rmsnorm_f32",
        r"setp\.lt\.s64 (%p\d+), (%rd\d+), (%rd\d+);", -1, r"setp.le.s64 \1, \2, \3;", "norm",
        "out of bounds", 1, True),
    Bug("a shuffle pairs other lanes", ROWS, "cuda_rmsnorm_bf16",
        r"mov\.[bu]32 (%r\d+), 4;", 0, r"mov.u32 \1, 8;", "norm", NUMBERS, 1, False),
    Bug("a shuffle names lanes that do not come", ROWS, "cuda_head_norm_f32",
        r"mov\.[bu]32 (%r\d+), -1;", 0, r"mov.u32 \1, 255;", "heads",
        "not among the members|reads a lane that is not in it", 1, False),
    Bug("a rotation takes the other sign", ROWS, "cuda_rope_f32",
        r"neg\.f32 (%f\d+), (%f\d+);", 0, r"mov.f32 \1, \2;", "rope", NUMBERS, 1, False),
    Bug("an address has the wrong offset", ROWS, "cuda_norm_gain_f32",
        r"ld\.shared\.f32 (%f\d+), \[(%r\d+)\+128\];", 0, r"ld.shared.f32 \1, [\2+130];",
        "norm_backward", "not a multiple of 4", 1, False),
    Bug("shared memory is read beyond its end", ROWS, "cuda_norm_gain_f32",
        r"ld\.shared\.f32 (%f\d+), \[(%r\d+)\+896\];", 0, r"ld.shared.f32 \1, [\2+1024];",
        "norm_backward", "out of bounds", 1, False),
    Bug("half of a block leaves before a barrier", ROWS, "cuda_embed_backward",
        r"(mov\.u32 (%r\d+), %tid\.x;)", 0,
        r"\1 {.reg .pred early; setp.gt.u32 early, \2, 127; @early ret;}", "embed",
        "reached by a part of the block", 1, False),
    Bug("a copy is waited for too weakly", PRODUCTS, "cuda_product_nt_bf16",
        r"cp\.async\.wait_group 1;", 0, "cp.async.wait_group 2;", "matmul", IN_FLIGHT, 1, True),
    Bug("a stage is read, and loaded again, without a barrier", PRODUCTS, "cuda_product_nt_bf16",
        r"bar\.sync 0;", 0, "", "matmul", f"race|{IN_FLIGHT}|nobody wrote", 1, False),
    Bug("operands of a product are swapped", PRODUCTS, "cuda_product_nt_bf16", MMA, 0,
        r"\1, {\2,\3,\4,\5}, {\7,\6}, \8;", "matmul", NUMBERS, 1, False),
    Bug("a fragment has the wrong index", PRODUCTS, "cuda_product_tn_bf16", MMA, 5,
        r"\1, {\2,\4,\3,\5}, {\6,\7}, \8;", "matmul", NUMBERS, 1, False),
    Bug("a tile is turned that must not be", PRODUCTS, "cuda_product_nt_bf16",
        r"m8n8\.x4\.shared", 0, "m8n8.x4.trans.shared", "matmul", NUMBERS, 1, False),
    Bug("the barrier of a sum's loop is missing", PRODUCTS, "cuda_product_f32",
        r"bar\.sync 0;", 0, "", "linear", "race", 1, False),
    Bug("keys are read before they have landed", FLASH, "cuda_flash_forward_64",
        r"cp\.async\.wait_group 0;", 1, "", "attention", IN_FLIGHT, 1, True),
    Bug("a tile of queries is overwritten while it is read", FLASH, "cuda_flash_dkv_64",
        r"bar\.sync 0;", 0, "", "attention_backward", f"race|{IN_FLIGHT}|nobody wrote", 1, False),
    Bug("a thread's place in its chunk is taken before the chunk is there", EXPERTS,
        "cuda_dispatch_place", r"bar\.sync 0;", 0, "", "dispatch", "nobody wrote|race", 1, True),
    Bug("counts are added to before they are cleared", EXPERTS, "cuda_balance_quantile",
        r"bar\.sync 0;", 0, "", "balance", "race|nobody wrote", 1, False),
    Bug("a digit is read before it is there", EXPERTS, "cuda_balance_quantile",
        r"bar\.sync 0;", 2, "", "balance", "race|nobody wrote", 1, False),
    Bug("two blocks write one partial sum", EXPERTS, "cuda_router_dW_f32",
        r"%ctaid\.y;", 0, "%ctaid.x;", "router_backward", f"race|{NUMBERS}|out of bounds", 1,
        False),
    Bug("a row's largest logit is read before it is there", LOSS, "cuda_cross_entropy_f32",
        r"bar\.sync 0;", 1, "", "loss", "nobody wrote|race", 1, False),
    Bug("an optimiser goes one element too far", VECTORS, "cuda_adamw",
        r"setp\.ge\.s64 (%p\d+)", 0, r"setp.gt.s64 \1", "optimisers", "out of bounds", 1, True),
    Bug("a tree of sums goes on without its barrier", VECTORS, "cuda_sum",
        r"bar\.sync 0;", 2, "", "sums", "race", 1, False),
    Bug("a key goes to the wrong page", ATTENTION, "cuda_paged_store_f32",
        r"and\.b64 (%rd\d+), (%rd\d+), -32;", 0, r"and.b64 \1, \2, -64;", "paged",
        f"{NUMBERS}|out of bounds|race|nobody wrote", 1, False),
    Bug("a stage is filled before it is empty", HOPPER, "cuda_hopper_nt",
        r"mbarrier\.try_wait\.parity\.shared::cta\.b64 (\w+), [^;]*;", 0,
        r"setp.eq.u32 \1, 0, 0;", "hopper", "more arrivals|changed|about to write", 3, False),
    Bug("a stage is read before it is full", HOPPER, "cuda_hopper_nt",
        r"mbarrier\.try_wait\.parity\.shared::cta\.b64 (\w+), [^;]*;", 1,
        r"setp.eq.u32 \1, 0, 0;", "hopper", "about to write|nobody wrote|more arrivals", 3, False),
    Bug("an operand's description is of another place", HOPPER, "cuda_hopper_nt",
        WGMMA, 1, r"\1, \2, \2, \4;", "hopper", f"{NUMBERS}|nobody wrote", 1, False),
    Bug("a product is waited for too weakly", HOPPER, "cuda_hopper_nt",
        r"wgmma\.wait_group\.sync\.aligned 0;", 0, "wgmma.wait_group.sync.aligned 4;", "hopper",
        "never waited for|changed before", 3, False),
]
