"""cuda_bugs.py: mistakes that are planted in the PTX that ships, each of which must be found.

pattern, the which-th time it stands in the kernel, becomes replacement; then the check of that name
(tests/cuda/check/) must fail with words that `found` matches: those of the emulator where a check
of accesses finds it, those of a comparison where numbers do."""
import collections

Bug = collections.namedtuple("Bug", "name file kernel pattern which replacement check found "
                                    "schedules short")
NUMBERS = r"the reference says|not all of it was written"
ROWS = "compute_cuda_rows"

BUGS = [
    Bug("a barrier is missing before a sum is read", ROWS, "cuda_rmsnorm_f32",
        r"bar\.sync 0;", 1, "", "norm", "read of what nobody wrote|race", 1, True),
    Bug("a barrier is missing before a sum's memory is used again", ROWS, "cuda_seam_forward_f32",
        r"bar\.sync 0;", 2, "", "seam", "race: write after read", 1, True),
    Bug("a row is read one element too far", ROWS, "cuda_rmsnorm_f32",
        r"setp\.lt\.s64 (%p\d+), (%rd\d+), (%rd\d+);", -1, r"setp.le.s64 \1, \2, \3;", "norm",
        "out of bounds", 1, True),
    Bug("a shuffle pairs other lanes", ROWS, "cuda_rmsnorm_bf16",
        r"mov\.[bu]32 (%r\d+), 4;", 0, r"mov.u32 \1, 5;", "norm", NUMBERS, 1, False),
    Bug("a shuffle names lanes that do not come", ROWS, "cuda_head_norm_f32",
        r"mov\.[bu]32 (%r\d+), -1;", 0, r"mov.u32 \1, 255;", "heads",
        "not among the members|different instructions", 1, False),
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
]
