/** Long polls: requests that are answered when something happens, or after their time. */

interface Waiter {
  readonly wake: (happened: boolean) => void;
}

export class Waiters {
  readonly #waiting = new Map<string, Set<Waiter>>();
  readonly #maximum: number;

  /** @param maximum how many may wait for one topic; one more ends the oldest. */
  constructor(maximum: number) {
    this.#maximum = maximum;
  }

  /** @returns true when `topic` was woken, false when the time was up or a newer request took the place. */
  wait(topic: string, milliseconds: number): Promise<boolean> {
    const waiting = this.#waiting.get(topic) ?? new Set<Waiter>();
    this.#waiting.set(topic, waiting);
    const oldest = waiting.values().next().value;
    if (oldest !== undefined && waiting.size >= this.#maximum) oldest.wake(false);
    return new Promise((resolve) => {
      const waiter: Waiter = {
        wake: (happened) => {
          clearTimeout(timer);
          waiting.delete(waiter);
          resolve(happened);
        },
      };
      const timer = setTimeout(() => waiter.wake(false), milliseconds);
      waiting.add(waiter);
    });
  }

  /** @returns how many were waiting. */
  wake(topic: string): number {
    const waiting = [...(this.#waiting.get(topic) ?? [])];
    this.#waiting.delete(topic);
    for (const waiter of waiting) waiter.wake(true);
    return waiting.length;
  }
}
