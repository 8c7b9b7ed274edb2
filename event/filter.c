/*
 * Lists of the config: names, and patterns of tables, separated by commas.
 */
#include <string.h>

#include "event.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool filter_next(const char **list, struct span *item)
{
	const char *p = *list, *end = p ? p + strcspn(p, ",") : NULL;

	if (!p)
		return false;
	*list = *end ? end + 1 : NULL;
	while (p < end && is_blank(*p))
		p++;
	while (p < end && is_blank(end[-1]))
		end--;
	*item = (struct span){ p, (size_t)(end - p) };
	return true;
}

bool filter_has(const char *list, struct span name)
{
	struct span item;

	while (filter_next(&list, &item))
		if (span_eq(item, name))
			return true;
	return false;
}

struct span filter_schema(struct span table)
{
	return span_of(memchr(table.p, '.', table.n) ? "" : "public.");
}

bool filter_is_list(const char *list)
{
	struct span item;

	while (filter_next(&list, &item))
		if (!item.n)
			return false;
	return true;
}
