/* cmd_site_internal.h: the commands beneath `colossus site`. */
#ifndef COLOSSUS_CMD_SITE_INTERNAL_H
#define COLOSSUS_CMD_SITE_INTERNAL_H

#include "cmd/cmd.h"
#include "site/site.h"

int cmd_site_explain(int argc, char **argv); /* cmd_site_study.c */
int cmd_site_sweep(int argc, char **argv);
int cmd_site_fit(int argc, char **argv);
/* From a name of presets/scenarios or a file; in *a. */
int cmd_site_load(const char *path, struct arena *a, struct site_scenario **out, struct error *e);
void cmd_site_print_json(json_t *j); /* takes it */

#endif
