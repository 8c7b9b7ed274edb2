/*
 * Rules: what becomes of the events of some source tables. A rule's section is the name of a table
 * or a pattern; exact names count before patterns, and of two patterns the first.
 */
#include <stdlib.h>
#include <string.h>

#include "private.h"

static bool is_pattern(struct span pattern)
{
	return memchr(pattern.p, '*', pattern.n);
}

const struct rule *rule_find(const struct conf *conf, struct span table, struct span type)
{
	struct span name = table.p ? table : type;

	for (int patterns = 0; patterns < 2; patterns++)
		for (size_t i = 0; i < conf->nrule; i++) {
			const struct rule *rule = &conf->rule[i];
			if (rule->by_type == !table.p && is_pattern(rule->pattern) == patterns &&
			    text_matches(rule->pattern, name))
				return rule;
		}
	return NULL;
}

/* ---- the destination of one table */

struct words {                          /* of a source table */
	struct span schema, table;
};

/* The first dot divides a name; triggers do not quote. */
static struct words split(struct span name)
{
	const char *dot = name.n ? memchr(name.p, '.', name.n) : NULL;
	size_t n = dot ? (size_t)(dot - name.p) : 0;

	if (!dot)
		return (struct words){ { name.p, 0 }, name };
	return (struct words){ { name.p, n }, { dot + 1, name.n - n - 1 } };
}

/* Does the text go on with the word? Then appends what it stands for, and moves *text. */
static bool fill_word(struct buf *out, const char **text, const char *word, struct span value)
{
	if (strncmp(*text, word, strlen(word)) != 0)
		return false;
	buf_add(out, value.p, value.n);
	*text += strlen(word);
	return true;
}

static char *filled(const char *text, const struct words *words)
{
	struct buf out = { 0 };

	while (*text)
		if (!fill_word(&out, &text, "%(schema)s", words->schema) &&
		    !fill_word(&out, &text, "%(table)s", words->table))
			buf_add(&out, text++, 1);
	buf_cstr(&out);
	return out.p;
}

/* Copies the keys' texts, so that *dest has its own. */
static void copy_texts(struct dest *dest)
{
	for (size_t i = 0; i < key_count; i++) {
		char **text = key_is_of_dest(&key_table[i]) ? key_text(&key_table[i], NULL, dest) :
			NULL;
		if (text)
			*text = mem_text(*text);
	}
}

static int no_destination(struct span name, const char *why, struct err *e)
{
	struct buf shown = { 0 };

	buf_printable(&shown, name, 2 * NAME_BYTES_MAX);
	err_set(e, ERR_DATA, "the event's table %s has no destination: %s", buf_cstr(&shown), why);
	buf_free(&shown);
	return e->code;
}

int rule_dest(const struct rule *rule, struct span table, struct dest *dest, struct err *e)
{
	const struct words words = split(table);
	const char *dot = strchr(rule->dest.dest_table, '.');
	struct err why = { 0 };

	*dest = rule->dest;
	dest->field = NULL;
	dest->nfield = 0;
	copy_texts(dest);
	free(dest->dest_table);
	dest->dest_table = filled(rule->dest.dest_table, &words);
	if (table.n && memchr(table.p, 0, table.n))
		return no_destination(table, "a NUL byte", e);
	if (rule->by_name && !words.table.n)
		return no_destination(table, "the name is empty", e);
	/* the dot that divides the target's name is the config's */
	if (rule->by_name && memchr(words.table.p, '.', words.table.n) &&
	    (!dot || strstr(dot, "%(table)s") == NULL))
		return no_destination(table, "a dot in the table's name", e);
	return dest_complete(dest, &why) ? no_destination(table, why.msg, e) : 0;
}

void rule_dest_free(struct dest *dest)
{
	for (size_t i = 0; i < key_count; i++)
		if (key_is_of_dest(&key_table[i]) && key_text(&key_table[i], NULL, dest))
			free(*key_text(&key_table[i], NULL, dest));
	free(dest->field);
	*dest = (struct dest){ 0 };
}
