/*
 * The raw values of keys and their origin: config file, environment, --set. They are one list; a
 * later origin overrides an earlier one.
 *
 * TDISPATCH_<KEY> is the value itself, TDISPATCH_<KEY>_FILE names a file that holds it. In both a
 * percent sign is literal: URIs and secrets contain them, and nobody can double them there. An
 * empty variable counts as not set: that is what ${LANES:-} in a Compose file becomes.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "private.h"

#define ENV_PREFIX "TDISPATCH_"
#define ENV_FILE_SUFFIX "_file"         /* of the key in lower case */

/* Contents of a file, NUL-terminated, malloc'ed; NULL with errno on failure. */
static char *read_file(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	struct buf b = { 0 };
	size_t got;

	if (!f)
		return NULL;
	do {
		got = fread(buf_reserve(&b, 65536), 1, 65536, f);
		b.len += got;
	} while (got > 0);
	int error = ferror(f) ? errno : 0;
	fclose(f);
	*n = b.len;
	buf_cstr(&b);
	if (error)
		buf_free(&b);
	errno = error;
	return b.p;
}

/* The list takes over key and raw; fmt makes the prefix of messages about it. */
__attribute__((format(printf, 5, 6)))
static struct value *add(struct values *v, enum value_from from, char *key, char *raw,
	const char *fmt, ...)
{
	char where[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(where, sizeof where, fmt, ap);
	va_end(ap);
	v->at = mem_grow(v->at, v->n, &v->cap, sizeof *v->at);
	v->at[v->n] = (struct value){ .key = key, .raw = raw, .from = from,
		.where = mem_text(where) };
	return &v->at[v->n++];
}

/* ---- names that are always defined */

/* Doubles percent signs: text not written for the config has no interpolation. */
static char *doubled_percent(const char *s)
{
	struct buf b = { 0 };

	for (; *s; s++)
		buf_fmt(&b, *s == '%' ? "%%%%" : "%c", *s);
	buf_cstr(&b);
	return b.p;
}

static void add_builtin(struct values *v, const char *name, const char *value)
{
	char *key = mem_text(name);

	add(v, VALUE_BUILTIN, key, doubled_percent(value), "%s", name)->used = true;
}

static void add_names_of_file(struct values *v, const char *file)
{
	char path[PATH_MAX], dir[PATH_MAX], base[PATH_MAX];
	if (!realpath(file, path))
		snprintf(path, sizeof path, "%s", file);
	memcpy(dir, path, sizeof dir);
	snprintf(base, sizeof base, "%s", basename(path));
	char *dot = strrchr(base, '.');
	if (dot && dot != base)
		*dot = 0;
	v->base_name = doubled_percent(base);
	v->job_name = doubled_percent(v->old ? VALUES_OLD_SECTION : base);
	add_builtin(v, "config_file", dir);
	add_builtin(v, "config_dir", dirname(dir));
}

static void add_other_names(struct values *v, const char *section)
{
	char host[256] = "localhost";

	gethostname(host, sizeof host - 1);
	add_builtin(v, "service_name", section);
	add_builtin(v, "host_name", host);
}

/* ---- the file */

/* The name of our section in the file, or NULL. */
static const char *find_section(const struct ini *ini, const char *file, struct err *e)
{
	static const char *const names[] = { VALUES_OLD_SECTION, "tdispatch" };
	const char *found = NULL;

	for (size_t i = 0; i < 2; i++)
		for (size_t k = 0; k < ini->n; k++)
			if (span_is(ini->entry[k].section, names[i]) && found != names[i]) {
				if (found)
					err_set(e, ERR_CONF, "%s: line %zu: [%s] and [%s] are both"
						" there: one job, one section", file,
						ini->entry[k].line, names[0], names[1]);
				found = names[i];
			}
	if (!found)
		err_set(e, ERR_CONF, "%s: there is no section [%s] or [%s]", file, names[0],
			names[1]);
	return found;
}

/* Two quotes mean empty, as in table_dispatcher 2.1. */
static char *copied_value(const char *value)
{
	return mem_str(value, strcmp(value, "\"\"") == 0 ? 0 : strlen(value));
}

/* Adds the entries of [name]. section: as in struct value. */
static void add_entries(struct values *v, const char *file, const struct ini *ini, const char *name,
	const char *section)
{
	enum value_from from = strcmp(name, "DEFAULT") == 0 ? VALUE_DEFAULT : VALUE_FILE;

	for (size_t i = 0; i < ini->n; i++) {
		const struct ini_entry *entry = &ini->entry[i];
		if (!*entry->key || !span_is(entry->section, name))
			continue;
		struct value *value = add(v, from, mem_text(entry->key),
			copied_value(entry->value), "%s: line %zu: %.200s", file, entry->line,
			entry->key);
		value->semicolon_line = entry->semicolon_line;
		value->section = section;
	}
}

static void add_section(struct values *v, const char *file, const struct ini *ini,
	const char *section)
{
	add_entries(v, file, ini, "DEFAULT", NULL);
	add_entries(v, file, ini, section, NULL);
}

/* Is it the section of source tables? Their names have a dot, ev_types are said to be types. */
static bool is_of_tables(struct span section)
{
	size_t n = strlen(VALUES_TYPE_SECTION);

	return memchr(section.p, '.', section.n) ||
		(section.n > n && memcmp(section.p, VALUES_TYPE_SECTION, n) == 0);
}

static void add_table_sections(struct values *v, const char *file, const struct ini *ini,
	struct err *e)
{
	for (size_t i = 0; i < ini->n && !e->code; i++) {
		const struct ini_entry *header = &ini->entry[i];
		if (*header->key || !is_of_tables(header->section))
			continue;
		char *section = mem_str(header->section.p, header->section.n);
		v->section = mem_grow(v->section, v->nsection, &v->section_cap, sizeof *v->section);
		v->section[v->nsection++] = section;
		struct value *value = add(v, VALUE_FILE, mem_str("", 0), mem_str("", 0),
			"%s: line %zu: [%.200s]", file, header->line, section);
		value->section = section;
		value->used = true;
		if (ini_check(ini, section, e) == 0)
			add_entries(v, file, ini, section, section);
	}
}

static bool has_key_of_table(const struct ini *ini, const char *section)
{
	for (size_t i = 0; i < ini->n; i++) {
		const struct ini_entry *entry = &ini->entry[i];
		if (span_is(entry->section, section) && (strcmp(entry->key, "dest_table") == 0 ||
		    strcmp(entry->key, "ignore") == 0))
			return true;
	}
	return false;
}

/* Adds those whose names seem to lack a schema. In an old file they are of other programs. */
static void add_other_sections(struct values *v, const char *file, const struct ini *ini)
{
	for (size_t i = 0; i < ini->n && !v->old; i++) {
		const struct ini_entry *header = &ini->entry[i];
		if (*header->key || is_of_tables(header->section) ||
		    span_is(header->section, "tdispatch") || span_is(header->section, "DEFAULT"))
			continue;
		char *section = mem_str(header->section.p, header->section.n);
		if (has_key_of_table(ini, section))
			add(v, VALUE_FILE, mem_str("", 0), mem_str("", 0),
				"%s: line %zu: [%.200s]", file, header->line, section);
		free(section);
	}
}

static void add_file(struct values *v, const char *file, struct err *e)
{
	struct ini ini = { 0 };
	struct err why = { 0 };
	size_t n = 0;
	const char *section = NULL;
	char *text = read_file(file, &n);

	if (!text)
		err_set(e, ERR_CONF, "cannot read config file %s: %s", file, strerror(errno));
	else if (ini_parse(&ini, (struct span){ text, n }, &why) < 0)
		err_set(e, ERR_CONF, "%s: %s", file, why.msg);
	else
		section = find_section(&ini, file, e);
	if (section && (ini_check(&ini, "DEFAULT", &why) < 0 ||
	    ini_check(&ini, section, &why) < 0)) {
		err_set(e, ERR_CONF, "%s: %s", file, why.msg);
	} else if (section) {
		v->old = strcmp(section, VALUES_OLD_SECTION) == 0;
		add_section(v, file, &ini, section);
		add_table_sections(v, file, &ini, &why);
		add_other_sections(v, file, &ini);
		add_names_of_file(v, file);
		add_other_names(v, section);
		if (why.code)
			err_set(e, ERR_CONF, "%s: %s", file, why.msg);
	}
	ini_free(&ini);
	free(text);
}

/* ---- the environment */

extern char **environ;

/* Is "NAME=value" one of ours, with a value? */
static bool is_ours(const char *var)
{
	const char *value = strchr(var, '=');

	return strncmp(var, ENV_PREFIX, strlen(ENV_PREFIX)) == 0 && value && value[1];
}

bool values_in_environment(void)
{
	for (char **var = environ; *var; var++)
		if (is_ours(*var))
			return true;
	return false;
}

/* The contents of the file at path, without a newline at the end. */
static char *read_secret(const char *variable, const char *path, struct err *e)
{
	size_t n = 0;
	char *text = read_file(path, &n), *value = NULL;

	if (!text) {
		err_set(e, ERR_CONF, "%s: cannot read %s: %s", variable, path, strerror(errno));
	} else if (strlen(text) != n) {
		err_set(e, ERR_CONF, "%s: there is a NUL byte in %s", variable, path);
	} else {
		if (n && text[n - 1] == '\n')
			text[n - 1] = 0;
		value = doubled_percent(text);
	}
	free(text);
	return value;
}

static void add_variable(struct values *v, const char *variable, const char *content,
	bool (*is_key)(const char *), struct err *e)
{
	char *key = mem_lower(variable + strlen(ENV_PREFIX), strlen(variable) - strlen(ENV_PREFIX));
	size_t n = strlen(key), suffix = strlen(ENV_FILE_SUFFIX);
	char *value = NULL;

	if (!is_key(key) && n > suffix && strcmp(key + n - suffix, ENV_FILE_SUFFIX) == 0) {
		key[n - suffix] = 0;
		if (is_key(key))
			value = read_secret(variable, content, e);
		else
			key[n - suffix] = *ENV_FILE_SUFFIX;
	}
	const struct value *other = values_find(v, key);
	if (other && other->from == VALUE_ENV)
		err_set(e, ERR_CONF, "%s and %s are both set: they are one key", other->where,
			variable);
	add(v, VALUE_ENV, key, value ? value : doubled_percent(content), "%s", variable);
}

static void add_environment(struct values *v, bool (*is_key)(const char *), struct err *e)
{
	for (char **var = environ; *var; var++) {
		size_t n = strcspn(*var, "=");
		if (!is_ours(*var))
			continue;
		char *name = mem_str(*var, n);
		if (strcmp(name, VALUES_CONFIG_FILE) != 0)
			add_variable(v, name, *var + n + 1, is_key, e);
		free(name);
	}
}

/* ---- --set */

static void add_sets(struct values *v, char *const *sets, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		size_t end = strcspn(sets[i], "=");
		char *key = mem_lower(sets[i], end);
		const char *value = sets[i] + end;
		/* show only a plain key: it may be a URI with a password */
		int shown = (int)strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_");
		if (!*value)
			err_set(e, ERR_CONF, "--set %.*s: it must be key=value", shown, key);
		else
			value++;
		add(v, VALUE_SET, key, mem_text(value), "--set %.*s", shown, key);
	}
}

/* ---- the list as a whole */

int values_load(struct values *v, const char *file, char *const *sets, size_t nsets,
	bool (*is_key)(const char *), struct err *e)
{
	*v = (struct values){ .file = file };
	if (file)
		add_file(v, file, e);
	else
		add_other_names(v, "tdispatch");
	if (!e->code)
		add_environment(v, is_key, e);
	if (!e->code)
		add_sets(v, sets, nsets, e);
	return e->code;
}

void values_free(struct values *v)
{
	for (size_t i = 0; i < v->n; i++) {
		free(v->at[i].key);
		free(v->at[i].raw);
		free(v->at[i].where);
	}
	for (size_t i = 0; i < v->nsection; i++)
		free(v->section[i]);
	free(v->section);
	free(v->at);
	free(v->job_name);
	free(v->base_name);
	*v = (struct values){ 0 };
}

struct value *values_find(const struct values *v, const char *key)
{
	struct value *found = NULL;

	for (size_t i = 0; i < v->n; i++)
		if (!v->at[i].section && strcmp(v->at[i].key, key) == 0 &&
		    (!found || v->at[i].from >= found->from))
			found = &v->at[i];
	return found;
}

struct value *values_find_in(const struct values *v, const char *section, const char *key)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->at[i].section == section && strcmp(v->at[i].key, key) == 0)
			return &v->at[i];
	return NULL;
}

void values_variable(const char *key, struct buf *out)
{
	buf_str(out, ENV_PREFIX);
	for (const char *c = key; *c; c++)
		buf_fmt(out, "%c", *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
}

void values_where(const struct values *v, const char *key, struct buf *out)
{
	const struct value *value = values_find(v, key);

	if (value && value->from != VALUE_BUILTIN) {
		buf_str(out, value->where);
	} else if (v->file) {
		buf_fmt(out, "%s: %s", v->file, key);
	} else {
		values_variable(key, out);
	}
}
