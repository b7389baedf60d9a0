/* fuzz_replay.c: runs a fuzz target over its corpus without libFuzzer, so that every input that was
 * ever interesting stays a test with any compiler. */
#include "base/base.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
    struct arena a;
    struct error e = {0};
    char **names;
    size_t count;
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
        return 2;
    }
    arena_init(&a);
    if (file_list_dir(argv[1], &a, &names, &count, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        char *text, *path = file_join(&a, argv[1], names[i]);
        size_t size;
        if (file_read(path, (size_t)64 << 20, &text, &size, &e) < 0) {
            fprintf(stderr, "%s\n", e.text);
            return 1;
        }
        printf("%s\n", names[i]);
        fflush(stdout); /* names the input that crashes */
        /* An exact copy, so that a read past the end is past the allocation's end, too. */
        uint8_t *exact = mem_alloc(size);
        for (size_t k = 0; k < size; k++)
            exact[k] = (uint8_t)text[k];
        mem_free(text);
        LLVMFuzzerTestOneInput(exact, size);
        mem_free(exact);
    }
    arena_fini(&a);
    return count ? 0 : 1;
}
