/** Slack's incoming webhooks: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks */
import type { Notice } from '../../../schemas/webhook.ts';
import type { Format } from './format.ts';

const SIGNS = { info: ':white_check_mark:', warning: ':warning:', error: ':rotating_light:' } as const;
/** Longest text of a section block. */
const MAX_SECTION = 3_000;

/** The three characters that mean something in Slack's text. */
function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function fields(notice: Notice): string {
  const { epoch, cause, from, to, outageMs, at } = notice;
  return [
    at,
    ...(cause === undefined ? [] : [`cause ${cause}`]),
    ...(from === undefined || from === null ? [] : [`from ${from}`]),
    ...(to === undefined ? [] : [`to ${to}`]),
    ...(epoch === undefined ? [] : [`epoch ${epoch}`]),
    ...(typeof outageMs === 'number' ? [`outage ${(outageMs / 1_000).toFixed(1)} s at most`] : []),
  ].join(' · ');
}

export const slack: Format = {
  takes: () => true,
  body: (notice) => {
    const text = `${SIGNS[notice.severity]} ${escaped(notice.summary)}`.slice(0, MAX_SECTION);
    return {
      text,
      blocks: [
        { type: 'section', text: { type: 'mrkdwn', text } },
        { type: 'context', elements: [{ type: 'mrkdwn', text: escaped(fields(notice)) }] },
      ],
    };
  },
  signed: false,
};
