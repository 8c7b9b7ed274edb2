/*
 * Completion for shells, made from the help text: a line of it that begins with a switch is one.
 */
#include <stdio.h>
#include <string.h>

#include "conf.h"

struct word {                           /* one switch, as its line in the help text tells it */
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

/* For a place between single quotes; what is special there to the shell's own functions gets a \. */
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

static void bash_word(const struct word *w)
{
	printf(" --%.*s", (int)w->name.n, w->name.p);
}

static void bash(const char *help)
{
	fputs("_tdispatch() {\n\tlocal words=\n\tcase ${COMP_WORDS[COMP_CWORD - 1]},${COMP_WORDS[COMP_CWORD]} in\n"
		"\t--completion,*) words='bash zsh fish' ;;\n\t--progress,*) words=json ;;\n\t*,-*) words='", stdout);
	each(help, bash_word);
	fputs("' ;;\n\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\n"
		"complete -o default -F _tdispatch tdispatch\n", stdout);   /* default: names of files */
}

static void zsh_word(const struct word *w)
{
	if (w->letter)
		printf(" \\\n\t'(-%c --%.*s)'{-%c,--%.*s}'[", w->letter, (int)w->name.n, w->name.p, w->letter, (int)w->name.n, w->name.p);
	else
		printf(" \\\n\t'%s--%.*s[", span_is(w->name, "set") ? "*" : "", (int)w->name.n, w->name.p);
	put(w->text, "[]:\\");
	fputs("]", stdout);
	if (w->argument.n)
		printf(":%.*s:", (int)w->argument.n, w->argument.p);
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
	fputs("'\n", stdout);
}

bool completion_print(const char *shell, const char *help)
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
