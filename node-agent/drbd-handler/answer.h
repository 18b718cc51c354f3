/* The agent's answer to a handler of DRBD: one flat JSON object (FenceVerdict in node-agent/agent/fences.ts). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct answer {
  enum { PENDING, OUTDATED, OWNED, NONE } verdict;
  enum { UNSAID, YES, NO } frozen;
  char why[400];
};

/* False for anything that is not such an answer to the last character: it is no permission. `why` may tell more. */
bool answer_read(const char *json, struct answer *answer);
