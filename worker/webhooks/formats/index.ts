import type { WebhookFormat } from '../../../schemas/webhook.ts';
import type { Format } from './format.ts';
import { pagerduty } from './pagerduty.ts';
import { slack } from './slack.ts';
import { standard } from './standard.ts';

export const FORMATS: Readonly<Record<WebhookFormat, Format>> = { standard, slack, pagerduty };
