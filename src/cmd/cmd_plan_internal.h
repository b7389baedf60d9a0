/* cmd_plan_internal.h: what the files of `colossus plan` share. */
#ifndef COLOSSUS_CMD_PLAN_INTERNAL_H
#define COLOSSUS_CMD_PLAN_INTERNAL_H

#include "cmd/cmd.h"
#include "plan/plan.h"

/* Writes what a plan says as a scenario of `colossus site`. */
int cmd_plan_scenario(const struct plan_answer *a, const char *path, struct error *e);

#endif
