/*
 * The command line, its help text, and shell completion. Completion is generated from the help
 * text, each line of which that begins with a switch defines one, and from the keys.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

/* ---- completion */

struct word {                           /* one switch, parsed from its line of the help text */
	char letter;                    /* or 0 */
	struct span name, argument, text;       /* argument may be empty */
};

static struct span until(const char **at, const char *ends)
{
	struct span s = { *at, strcspn(*at, ends) };

	*at += s.n;
	return s;
}

/* "  -q, --quiet     text" or "      --set KEY=VALUE text"; false for any other line. */
static bool parse(const char *line, struct word *w)
{
	const char *at = line + strspn(line, " ");

	*w = (struct word){ 0 };
	if (at == line || *at != '-')
		return false;
	if (at[1] != '-') {
		w->letter = at[1];
		at += strlen("-x, ");
	}
	at += strlen("--");
	w->name = until(&at, " \n");
	if (*at == ' ' && at[1] != ' ') {
		at++;
		w->argument = until(&at, " \n");
	}
	at += strspn(at, " ");
	w->text = until(&at, "\n");
	return true;
}

/* Calls print with each switch of the help text. */
static void each(const char *help, void (*print)(const struct word *))
{
	struct word w;

	for (const char *line = help; *line; line += strcspn(line, "\n"), line += *line == '\n')
		if (parse(line, &w))
			print(&w);
}

/* For use inside single quotes; a \ before what is special to the shell's completion functions. */
static void put(struct span s, const char *special)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\'')
			fputs("'\\'", stdout);
		else if (strchr(special, s.p[i]))
			putchar('\\');
		putchar(s.p[i]);
	}
}

/* Prints the keys, for --set, each followed by behind. */
static void keys(const char *before, const char *behind)
{
	for (size_t i = 0; i < key_count; i++)
		printf("%s%s%s", i ? before : "", key_table[i].name, behind);
}

static void bash_word(const struct word *w)
{
	printf(" --%.*s", (int)w->name.n, w->name.p);
}

static void bash(const char *help)
{
	fputs("_tdispatch() {\n\tlocal words=\n"
		"\tcase ${COMP_WORDS[COMP_CWORD - 1]},${COMP_WORDS[COMP_CWORD]} in\n"
		"\t--completion,*) words='bash zsh fish' ;;\n"
		"\t--progress,*) words=json ;;\n"
		"\t--set,*) compopt -o nospace 2>/dev/null; words='", stdout);
	keys(" ", "=");
	fputs("' ;;\n\t*,-*) words='", stdout);
	each(help, bash_word);
	fputs("' ;;\n\tesac\n"
		"\tCOMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\n"
		/* default: file names */
		"complete -o default -F _tdispatch tdispatch\n", stdout);
}

static void zsh_word(const struct word *w)
{
	if (w->letter)
		printf(" \\\n\t'(-%c --%.*s)'{-%c,--%.*s}'[", w->letter, (int)w->name.n, w->name.p,
			w->letter, (int)w->name.n, w->name.p);
	else
		printf(" \\\n\t'%s--%.*s[", span_is(w->name, "set") ? "*" : "", (int)w->name.n,
			w->name.p);
	put(w->text, "[]:\\");
	fputs("]", stdout);
	if (w->argument.n)
		printf(":%.*s:", (int)w->argument.n, w->argument.p);
	if (span_is(w->name, "set")) {
		fputs("compadd -S \"\" -- ", stdout);
		keys(" ", "=");
	}
	fputs("'", stdout);
}

static void zsh(const char *help)
{
	fputs("#compdef tdispatch\n_arguments -s", stdout);
	each(help, zsh_word);
	fputs(" \\\n\t'*:config:_files'\n", stdout);
}

static void fish_word(const struct word *w)
{
	fputs("complete -c tdispatch", stdout);
	if (w->letter)
		printf(" -s %c", w->letter);
	printf(" -l %.*s%s -d '", (int)w->name.n, w->name.p, w->argument.n ? " -x" : "");
	put(w->text, "\\");
	fputs("'", stdout);
	if (span_is(w->name, "set")) {
		fputs(" -a '", stdout);
		keys(" ", "=");
		fputs("'", stdout);
	}
	fputs("\n", stdout);
}

/* false: unknown shell. */
static bool print_completion(const char *shell, const char *help)
{
	if (strcmp(shell, "bash") == 0)
		bash(help);
	else if (strcmp(shell, "zsh") == 0)
		zsh(help);
	else if (strcmp(shell, "fish") == 0)
		each(help, fish_word);
	else
		return false;
	return true;
}

/* ---- the command line */

const char switches_help[] =
	"Usage: tdispatch [switches] [config.ini]\n"
	"Moves row events from a PgQ queue into partitioned tables, exactly once.\n"
	"\n"
	"  -h, --help          this text\n"
	"  -V, --version       the version; with -v also those of the libraries\n"
	"      --licenses      licenses of this program and the libraries in it\n"
	"  -q, --quiet         log warnings and errors only\n"
	"  -v, --verbose       log more; twice: still more\n"
	"  -d, --daemon        run in the background (needs pidfile)\n"
	"      --once          load what is pending now, then exit\n"
	"      --tick          make a tick, so that all that is committed now is pending;\n"
	"                      alone, or with --once, which then loads it\n"
	"      --from TABLE    copy that table of src_db, no queue: goes on where it was\n"
	"      --progress AS   with --once: json prints the progress, one object per line\n"
	"      --verify        with --once: compare each batch with its events first\n"
	"      --set KEY=VALUE override a key of the config; up to 64 times\n"
	"\n"
	"      --completion SHELL print the completion of bash, zsh or fish\n"
	"      --ini           print a sample config, which explains every key\n"
	"      --show-config   print the effective config, passwords masked\n"
	"      --show-partitions  list the partitions, and what part_keep would remove\n"
	"      --check         connect, list what is there and what is missing: ready?\n"
	"      --dry-run       print what the next batch would do; changes nothing\n"
	"      --status        show the positions of queue and target, and the process\n"
	"      --watch         with --status: again each second, until Ctrl-C\n"
	"      --json          with --status: for programs\n"
	"      --health        is the process healthy? 0 yes, 1 no; asks no server\n"
	"      --max-stall S   with --health: seconds without progress allowed (1200)\n"
	"      --max-lag S     with --health: seconds behind the source allowed (any)\n"
	"      --install       create what is missing: pgq_ext, queue, consumer\n"
	"      --grant ROLE    with --install: give that role the rights that a run needs\n"
	"      --register      register the consumer on the queue\n"
	"      --unregister    remove the consumer from the queue\n"
	"      --rewind        set the queue's position from the target's tick\n"
	"      --reset         forget the position on the target\n"
	"      --yes           with --reset: do not ask\n"
	"      --replay        load the dead letters again; 1 if some are still refused\n"
	"\n"
	"Signal the process that holds pidfile:\n"
	"  -r, --reload        read the config again (SIGHUP)\n"
	"  -s, --stop          finish the batch, then exit (SIGINT)\n"
	"  -k, --kill          exit at once; the batch will come again (SIGTERM)\n"
	"\n"
	"Each key can also come from the environment: TDISPATCH_<KEY>=value, or\n"
	"TDISPATCH_<KEY>_FILE=file, which holds the value. --set overrides the\n"
	"environment, which overrides config.ini.\n"
	"\n"
	"Exit codes: 0 done, 1 failed while running, 2 wrong usage or config.\n"
	"Begin with: tdispatch --ini > my.ini; edit it; tdispatch --check my.ini\n";

enum {
	OPT_FIRST = 256, OPT_ONCE = OPT_FIRST, OPT_SET, OPT_VERIFY, OPT_PROGRESS, OPT_COMPLETION,
	OPT_JSON, OPT_WATCH, OPT_MAX_LAG, OPT_MAX_STALL, OPT_YES, OPT_GRANT, OPT_FROM, OPT_MODE
};

#define MODES_MAX 32

static const struct option plain_options[] = {
	{ "quiet", no_argument, NULL, 'q' }, { "verbose", no_argument, NULL, 'v' },
	{ "daemon", no_argument, NULL, 'd' }, { "once", no_argument, NULL, OPT_ONCE },
	{ "set", required_argument, NULL, OPT_SET }, { "verify", no_argument, NULL, OPT_VERIFY },
	{ "json", no_argument, NULL, OPT_JSON }, { "watch", no_argument, NULL, OPT_WATCH },
	{ "yes", no_argument, NULL, OPT_YES },
	{ "completion", required_argument, NULL, OPT_COMPLETION },
	{ "progress", required_argument, NULL, OPT_PROGRESS },
	{ "max-lag", required_argument, NULL, OPT_MAX_LAG },
	{ "max-stall", required_argument, NULL, OPT_MAX_STALL },
	{ "grant", required_argument, NULL, OPT_GRANT },
	{ "from", required_argument, NULL, OPT_FROM },
};

#define PLAIN (sizeof plain_options / sizeof *plain_options)

struct options {                        /* for getopt_long */
	char letters[8 + MODES_MAX];
	struct option at[PLAIN + MODES_MAX + 1];
};

/* The options above, and OPT_MODE plus its index for each mode with a name. */
static void make_options(struct options *o, const struct mode *modes, size_t nmodes)
{
	size_t n = PLAIN;

	*o = (struct options){ .letters = ":qvd" };
	memcpy(o->at, plain_options, sizeof plain_options);
	for (size_t i = 0; i < nmodes && i < MODES_MAX; i++) {
		if (modes[i].name)
			o->at[n++] = (struct option){ modes[i].name, 0, NULL, OPT_MODE + (int)i };
		if (modes[i].letter)
			o->letters[strlen(o->letters)] = modes[i].letter;
	}
}

static int usage(const char *why)
{
	fprintf(stderr, "tdispatch: %s (see tdispatch --help)\n", why);
	return 2;
}

/* opt: a mode's letter, or OPT_MODE plus its index. */
static const struct mode *find_mode(const struct mode *modes, int opt)
{
	if (opt >= OPT_MODE)
		return &modes[opt - OPT_MODE];
	while (modes->letter != opt)
		modes++;
	return modes;
}

/* A whole number of seconds over 0; 0: it is none. */
static int64_t seconds_of(const char *text)
{
	size_t n = strlen(text);

	return n && n <= 9 && strspn(text, "0123456789") == n ? strtoll(text, NULL, 10) : 0;
}

/* word: the argument that getopt is at; within a group of letters, optopt has the letter. */
static int refuse(const char *word, const char *why)
{
	char text[220], letter[3] = { '-', (char)optopt, 0 };

	snprintf(text, sizeof text, "%.100s %s", optopt > ' ' && optopt < OPT_FIRST ? letter : word,
		why);
	return usage(text);
}

static int refuse_unknown(const struct options *o, const char *word)
{
	static const char unknown[] = "is an unknown or ambiguous option";
	bool is_long = strncmp(word, "--", 2) == 0;
	char name[32], why[100];
	const char *like = NULL;

	snprintf(name, sizeof name, "%.31s", is_long ? word + 2 : word);
	name[strcspn(name, "=")] = 0;
	size_t best = key_unlike(name);
	for (const struct option *at = o->at; at->name && is_long; at++)
		key_compare(name, at->name, &best, &like);
	snprintf(why, sizeof why, "%s%s%s%s", unknown, like ? "; did you mean --" : "",
		like ? like : "", like ? "?" : "");
	return refuse(word, why);
}

/* Checks which switches go together, and finds the config. 0, or the exit code. */
static int check_together(struct switches *s, int nfiles, char **files)
{
	if (s->mode->traits & MODE_NO_CONFIG)
		return 0;
	s->file = nfiles > 0 ? files[0] : getenv(VALUES_CONFIG_FILE);
	if (s->file && !*s->file && nfiles == 0)
		s->file = NULL;         /* an empty variable counts as not set */
	if (!s->file && !values_in_environment())
		return usage("there is no config file on the command line, and no TDISPATCH_"
			" variable in the environment");
	if (nfiles > 1)
		return usage("there is more than one config file on the command line");
	if ((s->json || s->watch) && !(s->mode->traits & MODE_JSON))
		return usage("--json and --watch go with --status");
	if ((s->max_lag || s->max_stall) && !(s->mode->traits & MODE_MAX_LAG))
		return usage("--max-lag and --max-stall go with --health");
	if (s->yes && !(s->mode->traits & MODE_YES))
		return usage("--yes goes with --reset");
	if (s->grant && !(s->mode->traits & MODE_GRANT))
		return usage("--grant goes with --install");
	if (s->once && s->daemon)
		return usage("--once or --from, and --daemon do not go together");
	if ((s->verify || s->progress_json) && !s->once)
		return usage("--verify and --progress need --once or --from");
	return 0;
}

static bool take_flag(struct switches *s, int opt)
{
	bool *flag = opt == 'd' ? &s->daemon : opt == OPT_ONCE ? &s->once :
		opt == OPT_VERIFY ? &s->verify : opt == OPT_JSON ? &s->json :
		opt == OPT_WATCH ? &s->watch : opt == OPT_YES ? &s->yes : NULL;

	if (opt == 'q' || opt == 'v')
		s->verbosity += opt == 'v' ? 1 : -1;
	else if (flag)
		*flag = true;
	else
		return false;
	return true;
}

static int take_set(struct switches *s, char *pair)
{
	if (s->nsets == SETS_MAX)
		return usage("too many --set (at most 64)");
	s->sets[s->nsets++] = pair;
	return 0;
}

/* --from: the key from_table, and a finite run. A percent sign would begin %(name)s. */
static int take_from(struct switches *s, const char *table)
{
	struct buf pair = { 0 };

	if (s->from || !*table)
		return usage("--from takes one table");
	buf_str(&pair, "from_table=");
	for (; *table; table++)
		buf_fmt(&pair, *table == '%' ? "%%%%" : "%c", *table);
	buf_cstr(&pair);
	s->from = pair.p;
	s->once = true;
	return take_set(s, pair.p);
}

/* 0, or the exit code. */
static int take_value(struct switches *s, int opt, char *value)
{
	switch (opt) {
	case OPT_PROGRESS:
		s->progress_json = true;
		return strcmp(value, "json") == 0 ? 0 : usage("--progress takes only json");
	case OPT_SET:
		return take_set(s, value);
	case OPT_FROM:
		return take_from(s, value);
	case OPT_GRANT:
		s->grant = value;
		return 0;
	case OPT_COMPLETION:
		exit(print_completion(value, switches_help) ? 0 :
			usage("--completion takes bash, zsh or fish"));
	default:
		*(opt == OPT_MAX_LAG ? &s->max_lag : &s->max_stall) = seconds_of(value);
		return seconds_of(value) ? 0 : usage("--max-lag and --max-stall take a whole"
			" number of seconds, 1 or more");
	}
}

int switches_parse(struct switches *s, const struct mode *modes, size_t nmodes, int argc,
	char **argv)
{
	struct options options;
	int opt, rc = 0;

	make_options(&options, modes, nmodes);
	s->mode = modes;
	while (!rc && (opt = getopt_long(argc, argv, options.letters, options.at, NULL)) != -1) {
		if (opt == '?')
			return refuse_unknown(&options, argv[optind - 1]);
		if (opt == ':')
			return refuse(argv[optind - 1], "needs a value");
		if (take_flag(s, opt))
			continue;
		if (optarg)
			rc = take_value(s, opt, optarg);
		else if (s->mode != modes && s->mode != find_mode(modes, opt))
			return usage("two switches contradict each other");
		else
			s->mode = find_mode(modes, opt);
	}
	s->tick = s->mode->traits & MODE_TICK;
	if (s->tick && s->once)
		s->mode = modes;
	return rc ? rc : check_together(s, argc - optind, argv + optind);
}
