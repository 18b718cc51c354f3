#include "answer.h"

#include <stddef.h>
#include <string.h>

static const char *skip_blanks(const char *at) { return at + strspn(at, " \t\r"); }

/* The string that begins at `at`, cut to its room; returns what follows, or NULL. Escapes are read as far as messages have them. */
static const char *read_string(const char *at, char *into, size_t room)
{
  size_t used = 0;
  if (*at++ != '"')
    return NULL;
  for (; *at != '"'; at++) {
    char c = *at;
    if (c == '\0')
      return NULL;
    if (c == '\\') {
      c = *++at;
      if (c == '\0')
        return NULL;
      if (c == 'u' && strspn(at + 1, "0123456789abcdefABCDEF") >= 4) {
        at += 4;
        c = '?';
      } else if (c != '"' && c != '\\' && c != '/') {
        c = ' ';
      }
    }
    if (used + 1 < room)
      into[used++] = c;
  }
  into[used] = '\0';
  return at + 1;
}

static bool note_verdict(const char *text, struct answer *a)
{
  static const char *const words[] = {[PENDING] = "pending", [OUTDATED] = "outdated", [OWNED] = "owned", [NONE] = "none"};
  for (int i = PENDING; i <= NONE; i++)
    if (strcmp(text, words[i]) == 0) {
      a->verdict = i;
      return true;
    }
  return false;
}

/* One value of a member that is understood, or of one that is not and does no harm. */
static const char *read_value(const char *at, const char *key, struct answer *a, bool *has_verdict)
{
  static char text[sizeof a->why];
  if (*at == '"') {
    at = read_string(at, text, sizeof text);
    if (at == NULL || strcmp(key, "frozen") == 0)
      return NULL;
    if (strcmp(key, "why") == 0 || strcmp(key, "error") == 0)
      strcpy(a->why, text);
    if (strcmp(key, "verdict") == 0) {
      *has_verdict = note_verdict(text, a);
      if (!*has_verdict)
        return NULL;
    }
    return at;
  }
  const size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789.+-E");
  const bool yes = length == 4 && strncmp(at, "true", 4) == 0, no = length == 5 && strncmp(at, "false", 5) == 0;
  if (strcmp(key, "frozen") == 0) {
    if (!yes && !no)
      return NULL;
    a->frozen = yes ? YES : NO;
  }
  return length == 0 || strcmp(key, "verdict") == 0 ? NULL : at + length;
}

bool answer_read(const char *json, struct answer *answer)
{
  static char key[32];
  bool has_verdict = false;
  *answer = (struct answer){.verdict = PENDING};
  const char *at = skip_blanks(json);
  if (*at != '{')
    return false;
  do {
    at = read_string(skip_blanks(at + 1), key, sizeof key);
    if (at == NULL || *(at = skip_blanks(at)) != ':')
      return false;
    at = read_value(skip_blanks(at + 1), key, answer, &has_verdict);
    if (at == NULL)
      return false;
    at = skip_blanks(at);
  } while (*at == ',');
  return *at == '}' && *skip_blanks(at + 1) == '\0' && has_verdict;
}
