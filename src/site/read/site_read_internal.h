/* site_read_internal.h: what the files that read scenarios share. */
#ifndef COLOSSUS_SITE_READ_INTERNAL_H
#define COLOSSUS_SITE_READ_INTERNAL_H

#include "site/site.h"

extern const struct section site_block_section, site_job_section, site_gas_section,
    site_load_section, site_cause_section, site_event_section;

/* Rows' own readers, named in site_rows.c. */
typedef int site_row_reader(const struct yaml_reader *r, const struct option *f,
                            const struct yaml_node *node, void *target);
site_row_reader site_read_blocks, site_read_jobs, site_read_gas, site_read_loads, site_read_causes,
    site_read_events, site_read_day_of_job, site_read_day_of_load, site_read_heat_rate,
    site_read_times;

/* Hazards by age of failures.table into the scenario (site_read_table.c). */
int site_read_table(const struct yaml_reader *r, const struct yaml_node *at,
                    struct site_scenario *s);
/* The jobs of a trace, of which none is larger than what the job holds (site_read_trace.c). */
int site_read_trace(const struct yaml_reader *r, const struct yaml_node *at, struct site_job *j);
/* Events of a run's log, FILE.jsonl (site_read_log.c). */
int site_read_log(const struct yaml_reader *r, const struct yaml_node *at, const char *name,
                  struct site_scenario *s);
/* Of which kinds of events a key is, as bits by enum site_event_kind; all: of any. */
unsigned site_event_kinds(const char *key);
/* The members of an event but its time and its target, as a log has them. */
void site_event_log(const struct site_event *e, struct json_writer *w);
#define FORCED "forced outage" /* why a unit trips by its own luck, in a log */
/* Leaves out of a log's events what the scenario draws by its own luck, and says so. */
void site_log_settle(const struct yaml_reader *r, struct site_scenario *s);
/* What a file beside the one being read is called. */
const char *site_file_beside(const struct yaml_reader *r, const char *name);

#endif
