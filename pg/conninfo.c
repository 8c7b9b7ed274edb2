/*
 * Connection strings: are they well formed, are their values what libpq takes, and what of them
 * may be shown.
 */
#include <libpq-fe.h>
#include <string.h>

#include "pg.h"

/* A bare @ or / in a URI's password makes libpq take the rest of it for the name of a host or a
 * database, and tell that name to everybody. */
static bool misread_uri(const char *conninfo)
{
	const char *p = strncmp(conninfo, "postgres", 8) == 0 ? strstr(conninfo, "://") : NULL;

	if (!p)
		return false;
	p += strlen("://");
	p += strcspn(p, "@/");
	return *p && memchr(p + 1, '@', strcspn(p + 1, "?"));
}

bool conninfo_refused(const char *text)
{
	return strncmp(text, "invalid ", 8) == 0 || strncmp(text, "weak sslmode", 12) == 0 ||
		strstr(text, " for connection option ");
}

/* What config files are told to use, and older versions of libpq do not know, or take for something
 * else: "system" for the name of a file. value: NULL for any. */
static const struct { const char *keyword, *value; int since; } young[] = {
	{ "sslrootcert", "system", 160000 },
	{ "require_auth", NULL, 160000 },
	{ "load_balance_hosts", NULL, 160000 },
	{ "sslcertmode", NULL, 160000 },
	{ "sslnegotiation", NULL, 170000 },
};

static void refuse_young(const char *what, size_t i, struct err *e)
{
	int version = PQlibVersion();

	err_set(e, ERR_CONF, "%s: this program is built with libpq %d.%d, which does not know %s%s%s: libpq %d is needed",
		what, version / 10000, version % 10000, young[i].keyword, young[i].value ? "=" : "",
		young[i].value ? young[i].value : "", young[i].since / 10000);
}

/* A keyword that this libpq refused, in its words. */
static void check_keyword(const char *what, const char *why, struct err *e)
{
	static const char refused[] = "invalid connection option \"";
	const char *at = why ? strstr(why, refused) : NULL;

	for (size_t i = 0; at && i < sizeof young / sizeof *young; i++) {
		size_t n = strlen(young[i].keyword);
		const char *name = at + sizeof refused - 1;
		if (strncmp(name, young[i].keyword, n) == 0 && name[n] == '"')
			refuse_young(what, i, e);
	}
}

static void check_young(const char *what, const PQconninfoOption *options, struct err *e)
{
	for (const PQconninfoOption *o = options; o->keyword; o++)
		for (size_t i = 0; i < sizeof young / sizeof *young; i++)
			if (o->val && young[i].value && PQlibVersion() < young[i].since &&
				strcmp(o->keyword, young[i].keyword) == 0 && strcmp(o->val, young[i].value) == 0)
				refuse_young(what, i, e);
}

const char *conninfo_lacks(void)
{
	return PQlibVersion() < 160000 ? "sslrootcert=system, require_auth and load_balance_hosts" : NULL;
}

/* libpq checks values only as it connects. So it is let to, to a socket that cannot be: what it
 * says of that is no matter, but what it refuses is wrong for any server. */
static void check_values(const char *what, const PQconninfoOption *options, struct err *e)
{
	static const char *const where[] = { "host", "hostaddr", "port", "service" };
	const char *keys[64] = { "host" }, *values[64] = { "/dev/null" };
	size_t n = 1;

	for (const PQconninfoOption *o = options; o->keyword && n < 63; o++) {
		bool place = false;
		for (size_t i = 0; i < sizeof where / sizeof *where; i++)
			place |= strcmp(o->keyword, where[i]) == 0;
		if (!o->val || (place && (strcmp(o->keyword, "port") != 0 || strchr(o->val, ','))))
			continue;
		keys[n] = o->keyword;
		values[n++] = o->val;
	}
	PGconn *conn = PQconnectStartParams(keys, values, 0);
	const char *why = PQerrorMessage(conn);
	if (conninfo_refused(why)) {
		if (strcasestr(why, "password="))       /* a space is missing before it */
			why = "a value of the connection string is wrong";
		err_set(e, ERR_CONF, "%s: %.*s", what, (int)strcspn(why, "\n"), why);
	}
	PQfinish(conn);
}

int conninfo_check(const char *what, const char *conninfo, struct err *e)
{
	char *why = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &why);

	if (misread_uri(conninfo))
		err_set(e, ERR_CONF, "%s: @ and / in the user or password of a URI are written %%40 and %%2f"
			" (in the config file %%%%40 and %%%%2f)", what);
	if (!options)
		check_keyword(what, why, e);
	if (!options)   /* libpq's reason may quote the string, and a password with it */
		err_set(e, ERR_CONF, "%s is no valid connection string (key=value pairs or a postgresql:// URI)", what);
	else
		check_young(what, options, e);
	if (!e->code)
		check_values(what, options, e);
	PQconninfoFree(options);
	PQfreemem(why);
	return e->code;
}

static bool is_secret(const char *keyword)
{
	return strcmp(keyword, "password") == 0 || strcmp(keyword, "sslpassword") == 0 ||
		strcmp(keyword, "oauth_client_secret") == 0;
}

char *conninfo_mask(const char *conninfo)
{
	PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
	struct buf out = { 0 };
	bool secrets = false;

	for (PQconninfoOption *o = options; o && o->keyword; o++) {
		if (!o->val)
			continue;
		secrets |= is_secret(o->keyword);
		buf_fmt(&out, "%s%s='", out.len ? " " : "", o->keyword);
		for (const char *c = is_secret(o->keyword) ? "********" : o->val; *c; c++)
			buf_fmt(&out, *c == '\'' || *c == '\\' ? "\\%c" : "%c", *c);
		buf_str(&out, "'");
	}
	if (options && !secrets) {
		out.len = 0;
		buf_str(&out, conninfo);
	}
	PQconninfoFree(options);
	buf_cstr(&out);
	return out.p;
}
