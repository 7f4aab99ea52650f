/* main.c: the program jscopes: its commands. To add one: cmd_X.c and a row here. */
#include "cli_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

const struct command commands[] = {
    {"attribute", "which tokens of a prompt a prediction came from", "MODEL (--text T | --text-file F | --ids 1,2,3) [OPTION...]",
     "Examples:\n"
     "  jscopes attribute smollm2-135m --text \"The capital of France is\"\n"
     "      why the likeliest next token? (the semantic scope)\n"
     "  jscopes attribute smollm2-135m --text \"The capital of France is\" --scope fisher\n"
     "      where does the whole predicted distribution come from?\n"
     "  jscopes attribute smollm2-135m --text \"The capital of France is\" --contrast \" Paris, London\"\n"
     "  jscopes attribute smollm2-135m --text-file prompt.txt --scope path --path-rule graded --layers\n"
     "  jscopes attribute model.gguf --ids 504,3575,282 --target-id 7042,260 --format json -o scores.json\n",
     options_attribute, cmd_attribute, NULL, false},
    {"plan", "the memory and operations that attribute would need; nothing is computed",
     "MODEL (--text T | --text-file F | --ids 1,2,3 | --tokens N) [OPTION...]",
     "Examples:\n"
     "  jscopes plan smollm2-135m --text \"The capital of France is\" --scope fisher --exact\n"
     "  jscopes plan smollm2-135m --tokens 4096 --scope fisher --memory 8G\n",
     options_plan, cmd_plan, NULL, false},
    {"spectrum", "spectra of the Fisher matrix and of one token's Jacobian", "MODEL (--text T | --text-file F | --ids 1,2,3) [OPTION...]",
     "Examples:\n"
     "  jscopes spectrum smollm2-135m --text \"The capital of France is\"\n"
     "      on how many directions of the hidden state does the prediction depend?\n"
     "  jscopes spectrum smollm2-135m --text \"The capital of France is\" --kind jacobian --token 3\n"
     "      how much do changes of token 3 grow on their way to the last hidden state?\n"
     "  jscopes spectrum smollm2-135m --text \"The capital of France is\" --kind fisher-input --token 3\n"
     "      which changes of token 3 move the prediction?\n"
     "  jscopes spectrum model.gguf --ids 504,3575,282 --kind jacobian --exact --format json --vectors\n",
     options_spectrum, cmd_spectrum, NULL, false},
    {"info", "what a model is: family, sizes, element types, tokeniser, warnings", "(MODEL | --families) [OPTION...]",
     "Examples:\n"
     "  jscopes info smollm2-135m\n"
     "  jscopes info path/to/checkpoint --format json\n"
     "  jscopes info --families\n"
     "      which model families can be read, and what each is made of\n",
     options_info, cmd_info, NULL, false},
    {"tokenize", "the ids and pieces of a text", "MODEL (--text T | --text-file F) [OPTION...]",
     "Examples:\n"
     "  jscopes tokenize smollm2-135m --text \"The capital of France is\"\n"
     "  echo -n \"some text\" | jscopes tokenize model.gguf --text-file - --format json\n",
     options_tokenize, cmd_tokenize, NULL, false},
    {"render", "saved results (--format json) in any format; several of one prompt side by side", "FILE... [OPTION...]",
     "Examples:\n"
     "  jscopes attribute smollm2-135m --text \"The capital of France is\" --format json -o semantic.json\n"
     "  jscopes render semantic.json\n"
     "      the saved result as coloured text\n"
     "  jscopes render semantic.json -o semantic.html\n"
     "      as a page; likewise .svg, a figure\n"
     "  jscopes render semantic.json fisher.json --label semantic --label fisher\n"
     "      side by side, with the rank correlation of their scores\n"
     "  jscopes render before.json after.json --difference\n"
     "      where the first is stronger, where the second\n"
     "  jscopes render corpus.jsonl --id 17 --format html -o 17.html\n"
     "      one line of many\n",
     options_render, cmd_render, NULL, true},
    {"corpus", "attribute many prompts, from JSON lines into a folder; goes on where it was stopped",
     "MODEL INPUT... -o DIR [OPTION...]\n  or:  status|check|summary DIR  or:  merge DIR -o FILE",
     "Examples:\n"
     "  jscopes corpus smollm2-135m prompts.jsonl -o results --scope temperature\n"
     "      a line is {\"id\": \"a1\", \"text\": \"The capital of France is\"}; inputs may be .gz, .zst, folders or - (standard input)\n"
     "  jscopes corpus smollm2-135m prompts.jsonl.zst -o results --shard 0/4\n"
     "      the first of four workers; with --shard auto Slurm, torchrun or mpirun say which\n"
     "  jscopes corpus status results\n"
     "      how much is done, how fast, how long it will take; likewise check (is every record there?) and summary\n"
     "  jscopes corpus merge results -o results.jsonl\n"
     "      all records in one file, in the order of the input; then: jscopes render results.jsonl --id a1 -o a1.html\n",
     options_corpus, cmd_corpus, NULL, true},
    {"fetch", "bring a known model into the cache, verified; without NAME list them", "[NAME] [OPTION...]", NULL, NULL, NULL, cmd_fetch,
     false},
};
const size_t n_commands = sizeof commands / sizeof *commands;

const struct command *command_find(const char *name)
{
    struct guess guess = {name, NULL, 0};
    for (size_t i = 0; i < n_commands; i++) {
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
        guess_try(&guess, commands[i].name);
    }
    if (guess_best(&guess) != NULL)
        fail(EXIT_USAGE, "unknown command '%s'; did you mean %s?", name, guess_best(&guess));
    else
        fail(EXIT_USAGE, "unknown command '%s'; see jscopes --help", name);
    return NULL;
}

static int show_help(void)
{
    printf("jscopes: which input tokens did a language model's prediction come from?\n\n"
           "  jscopes fetch smollm2-135m                                         bring a small model, once\n"
           "  jscopes attribute smollm2-135m --text \"The capital of France is\"   explain a prediction\n\n"
           "Commands:\n");
    for (size_t i = 0; i < n_commands; i++)
        printf("  %-10s  %s\n", commands[i].name, commands[i].summary);
    printf("\njscopes COMMAND --help teaches each by example. MODEL is a folder with config.json, *.safetensors and\n"
           "tokenizer.json, a .gguf file, or the name of a fetched model.\n"
           "Exit status: 0 done, 1 failed, 2 bad usage.\n");
    return EXIT_DONE;
}

static int show_version(void)
{
    printf("jscopes %s (library %s)\nUnicode %s (utf8proc %s)\n", JSC_VERSION, jsc_version(), utf8proc_unicode_version(),
           utf8proc_version());
    return EXIT_DONE;
}

static int run_command(const struct command *command, int argc, char **argv)
{
    struct arguments args = {.model = NULL};
    if (command->run_raw != NULL)
        return command->run_raw(argc, argv);
    int status = args_parse(command, argc, argv, &args);
    if (status == EXIT_DONE)
        status = command->run(&args);
    else if (status < 0)
        status = EXIT_DONE;
    args_free(&args);
    return status;
}

static int help_of(const char *name)
{
    char fetch[] = "fetch", help[] = "--help", *argv[] = {fetch, help, NULL};
    const struct command *command = command_find(name);
    if (command == NULL)
        return EXIT_USAGE;
    return command->run_raw != NULL ? command->run_raw(2, argv) : args_help(command);
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2)
        return fail(EXIT_USAGE, "no command; see jscopes --help");
    const char *first = argv[1];
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || (strcmp(first, "help") == 0 && argc == 2))
        return show_help();
    if (strcmp(first, "help") == 0)
        return help_of(argv[2]);
    if (strcmp(first, "--version") == 0)
        return show_version();
    if (first[0] == '-')
        return fail(EXIT_USAGE, "%s: the command comes first; see jscopes --help", first);
    const struct command *command = command_find(first);
    return command == NULL ? EXIT_USAGE : run_command(command, argc - 1, argv + 1);
}

/* Threads that wait for each other must sleep, not spin: one other busy program otherwise slows every step several times (measured: 0.31
 * instead of 0.14 s for a forward pass), and a quiet machine shows no difference. OpenMP reads the variable before main, so the
 * program begins again with it. Whoever has set one of the variables keeps his wish. */
static void wait_asleep(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") == NULL && getenv("GOMP_SPINCOUNT") == NULL && setenv("OMP_WAIT_POLICY", "passive", 0) == 0)
        (void)execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
    wait_asleep(argv);
    (void)signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error like a full disk: said, and exit 1 */
    return finish_stdout(dispatch(argc, argv));
}
