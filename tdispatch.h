/*
 * tdispatch: moves row events from a PgQ queue into partitioned tables, exactly once.
 *
 * A row's way: load/batch.c takes a batch of the queue (pg/queue.c), load/pass.c reads its events
 * by COPY from the source (pg/copy.c). event/route.c finds the columns in a row (urlenc.c is its
 * grammar), event/period.c the partition in a date, pg/part.c creates the partition (its SQL:
 * event/template.c), load/sink.c sends the rows by COPY to the target. The target's commit records
 * the position too (pg/position.c); only then is the queue told that the batch is done.
 *
 * Which folder answers, from the lowest level up:
 *
 *   base/    how are bytes, text, errors, logs, files, signals handled?
 *   event/   which columns, which values, which partition has an event? Pure, all of it fuzzed.
 *   conf/    what is asked for, by file, environment and command line? ini.c is the file's grammar.
 *   pg/      what is said to the two servers, and what does their answer mean?
 *   load/    what happens to a batch, in which order, and how do others see it?
 *   ops/     what do the switches that look and set up do?
 *
 * tdispatch.c is main: connecting, working, sleeping, and the exit codes.
 *
 * A file includes the header of its own folder, which includes those of the folders below; so it
 * cannot call what is higher. ini.c and urlenc.c know base/ alone. Within a folder a file calls
 * those whose section in the header stands above its own (make check-layers).
 */
#ifndef TDISPATCH_H
#define TDISPATCH_H

#include "ops/ops.h"

#endif
