/* main.c: the table of commands, and nothing else. */
#include "cmd/cmd.h"

static const struct cmd_entry commands[] = {
    {"data", cmd_data, "text", "train a tokenizer; turn corpora into token shards; look at them"},
    {"train", cmd_train, "model", "train a model from a run file"},
    {"generate", cmd_generate, "model", "let a trained model continue text"},
    {"eval", cmd_eval, "model", "score a model on text and evaluation sets"},
    {"serve", cmd_serve, "model", "serve a model over HTTP to OpenAI's clients"},
    {"convert", cmd_convert, "model",
     "write a model's files for llama.cpp, transformers or training"},
    {"bench-serve", cmd_bench_serve, "model", "measure how fast a server answers many clients"},
    {"feed", cmd_feed, "posts", "take posts in, keep them, find them, see what rises"},
    {"plan", cmd_plan, "machine", "predict layout, days, failures, megawatts and dollars of a run"},
    {"site", cmd_site, "machine", "live through months of a training site, event by event"},
    {"bench-machine", cmd_bench_machine, "machine", "measure this machine, for plans"},
    {"launch", cmd_launch, "runs", "train on many ranks, and go on when one is lost"},
    {"submit", cmd_submit, "runs", "the same as a job of Slurm, with spare nodes"},
    {"status", cmd_status, "runs", "how far a run is, and where its time went"},
    {"why", cmd_why, "runs", "which rank of a run was lost, where, and what was done"},
    {"top", cmd_top, "runs", "a run as it goes, on a terminal or as a page"},
    {"plot", cmd_plot, "runs", "draw a run's loss and speed, here and as SVG"},
    {"check-golden", cmd_check_golden, "runs", "compare the model with reference numbers"},
    {"doctor", cmd_doctor, "runs", "say what is wrong with a site's MPI or Slurm"},
    {"version", cmd_version, "more", "version, commit, compiler, libraries, kernels for this CPU"},
    {"help", cmd_help, "more", "list the commands, or explain one"},
};

int main(int argc, char **argv)
{
    return cmd_main(commands, ARRAY_LEN(commands), argc, argv);
}
