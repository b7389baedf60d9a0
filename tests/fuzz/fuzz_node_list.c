/* fuzz_node_list.c: any text as the list of nodes of an allocation: names or an error, within bounds. */
#include "cluster/cluster.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct error e = {0};
    const char **names;
    size_t n = 0;
    char *text = arena_strndup(&a, (const char *)data, size);
    if (cluster_expand_nodes(text, &a, &names, &n, &e) < 0)
        CHECK(e.text[0]);
    else
        CHECK(n > 0 && n <= 65536);
    for (size_t i = 0; i < n && e.text[0] == '\0'; i++)
        CHECK(strlen(names[i]) < 512);
    arena_fini(&a);
    return 0;
}
