/** Whether nobody follows this agent on this host: then what runs here is handed over, not left for a successor. */
import { existsSync } from 'node:fs';
import { type Log, Systemd, textOf } from '../system/index.ts';

/** Exists while systemd is the service manager (sd_booted(3)). */
const SYSTEMD_BOOTED = '/run/systemd/system';
/** Made by the package's maintainer script before it stops the agent for good; below /run, so no boot ever finds it. */
const HAND_OVER_MARK = '/run/holdfast/hand-over';
/**
 * systemd answers in a millisecond, but not on a machine that is busy going down; a successor of this agent waits no longer than that, and by far
 * not as long as the unit may take to stop.
 */
const ANSWER_MS = 10_000;

/** @returns why what runs here must be handed over, in words; undefined when a successor takes it up. */
export async function reasonToHandOver(log: Log): Promise<string | undefined> {
  if (existsSync(HAND_OVER_MARK)) return 'Holdfast is being removed';
  return (await hostIsStopping(log)) ? 'the host is being shut down' : undefined;
}

/** @returns whether systemd is taking the host down. Where it cannot be asked, that is said, and the agent ends as for a successor. */
async function hostIsStopping(log: Log): Promise<boolean> {
  if (!existsSync(SYSTEMD_BOOTED)) return false;
  const systemd = new Systemd({ log });
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${ANSWER_MS} ms`)), ANSWER_MS);
  const asked = systemd.isStopping();
  // whichever comes second is not waited for
  asked.catch(() => undefined);
  try {
    return await Promise.race([asked, late]);
  } catch (error) {
    const reason = textOf(error);
    log.warn(`systemd does not say whether the host is going down (${reason}); services are left as they are`);
    return false;
  } finally {
    clearTimeout(timer);
    systemd.close();
  }
}
