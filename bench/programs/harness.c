// A scripted harness: as much of `codex app-server`'s protocol (Codex 0.163.0) as Centaur's adapter speaks, with no
// model and no time of its own. What it says is in the user's text: `deltas=20 size=16 gap=500` is an answer of 20
// deltas of 16 bytes, 500 µs apart (without a gap: all of the turn in one write).
//
// The answer's first delta begins with `@RECEIVED,WRITTEN `: when it had read the turn, and when it wrote that delta, in
// nanoseconds of CLOCK_MONOTONIC, which all processes of the machine share.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char *out;
static size_t out_size, out_length;

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void flush(void) {
  size_t done = 0;
  while (done < out_length) {
    ssize_t count = write(1, out + done, out_length - done);
    if (count <= 0) exit(1);
    done += count;
  }
  out_length = 0;
}

static void reserve(size_t length) {
  if (out_size - out_length < length) out = realloc(out, out_size = out_size * 2 + length);
}

// Appends one line; without `text` it is at most a few kilobytes.
static void say(const char *format, ...) {
  reserve(8192);
  va_list arguments;
  va_start(arguments, format);
  out_length += vsnprintf(out + out_length, out_size - out_length, format, arguments);
  va_end(arguments);
  out[out_length++] = '\n';
}

static long number(const char *line, const char *name, long otherwise) {
  const char *found = strstr(line, name);
  return found ? strtol(found + strlen(name), NULL, 10) : otherwise;
}

static int turns;

static void turn(long id, const char *line, long long received) {
  long deltas = number(line, "deltas=", 1), size = number(line, "size=", 16), gap = number(line, "gap=", 0);
  if (size > 4000) size = 4000;
  char text[4096];
  memset(text, 'x', sizeof text);
  turns++;
  say("{\"id\":%ld,\"result\":{\"turn\":{\"id\":\"turn-%d\",\"items\":[],\"status\":\"inProgress\",\"error\":null}}}", id, turns);
  say("{\"method\":\"turn/started\",\"params\":{\"threadId\":\"bench\",\"turn\":{\"id\":\"turn-%d\",\"items\":[],"
      "\"status\":\"inProgress\",\"error\":null}},\"emittedAtMs\":1795478870047}", turns);
  say("{\"method\":\"item/started\",\"params\":{\"item\":{\"type\":\"agentMessage\",\"id\":\"msg_%d\",\"text\":\"\",\"phase\":null},"
      "\"threadId\":\"bench\",\"turnId\":\"turn-%d\"},\"emittedAtMs\":1795478870047}", turns, turns);
  char stamp[64];
  snprintf(stamp, sizeof stamp, "@%lld,%lld ", received, now());
  for (long i = 0; i < deltas; i++) {
    say("{\"method\":\"item/agentMessage/delta\",\"params\":{\"threadId\":\"bench\",\"turnId\":\"turn-%d\","
        "\"itemId\":\"msg_%d\",\"delta\":\"%s%.*s\"},\"emittedAtMs\":1795478870099}", turns, turns, i ? "" : stamp, (int)size, text);
    if (gap) {
      flush();
      struct timespec pause = {gap / 1000000, gap % 1000000 * 1000};
      if (i + 1 < deltas) clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
  }
  // A harness repeats the whole text.
  say("{\"method\":\"item/completed\",\"params\":{\"threadId\":\"bench\",\"turnId\":\"turn-%d\",\"item\":"
      "{\"type\":\"agentMessage\",\"id\":\"msg_%d\",\"phase\":null,\"text\":\"%s", turns, turns, stamp);
  out_length--;
  reserve(deltas * size + 8192);
  memset(out + out_length, 'x', deltas * size);
  out_length += deltas * size;
  say("\"}},\"emittedAtMs\":1795478870102}");
  say("{\"method\":\"thread/tokenUsage/updated\",\"params\":{\"threadId\":\"bench\",\"turnId\":\"turn-%d\",\"tokenUsage\":{\"last\":"
      "{\"totalTokens\":127,\"inputTokens\":120,\"cachedInputTokens\":100,\"outputTokens\":7,\"reasoningOutputTokens\":3}}}}", turns);
  say("{\"method\":\"turn/completed\",\"params\":{\"threadId\":\"bench\",\"turn\":{\"id\":\"turn-%d\",\"items\":[],"
      "\"status\":\"completed\",\"error\":null}}}", turns);
  flush();
}

static void answer(const char *line, long long received) {
  long id = number(line, "\"id\":", -1);
  if (id < 0) return;
  if (strstr(line, "\"method\":\"turn/start\"")) return turn(id, line, received);
  if (strstr(line, "\"method\":\"initialize\"")) {
    say("{\"id\":%ld,\"result\":{\"userAgent\":\"bench\"}}", id);
  } else if (strstr(line, "\"method\":\"thread/start\"") || strstr(line, "\"method\":\"thread/resume\"")) {
    say("{\"id\":%ld,\"result\":{\"thread\":{\"id\":\"bench\"}}}", id);
  } else {
    say("{\"id\":%ld,\"result\":{}}", id);
  }
  flush();
}

int main(void) {
  size_t size = 1 << 20, length = 0;
  char *in = malloc(size);
  while (1) {
    if (length + 1 == size) in = realloc(in, size *= 2);
    ssize_t count = read(0, in + length, size - length - 1);
    if (count <= 0) return 0;
    long long received = now();
    length += count;
    char *start = in, *newline;
    while ((newline = memchr(start, '\n', in + length - start))) {
      *newline = 0;
      answer(start, received);
      start = newline + 1;
    }
    memmove(in, start, length -= start - in);
  }
}
