/** Incidents: the story of each time a group was not served though it should have been. */
import type { Command } from 'commander';
import { incidentListSchema, incidentStorySchema } from '../../schemas/incident.ts';
import { incidentTable, incidentText } from './incident-text.ts';
import { routes } from './routes.ts';
import { printJson, type Register, type Setting, settingOf } from './setting.ts';

async function list(setting: Setting): Promise<void> {
  const client = await setting.connect();
  const path = routes.incidents(client.cluster);
  const { value, sent } = await client.call(incidentListSchema, { method: 'GET', path });
  if (setting.json) printJson(setting.io, sent);
  else if (value.incidents.length === 0)
    setting.io.note('no incident: no group failed, or lost its node, as far back as events are kept');
  else setting.io.data(incidentTable(value.incidents));
}

async function show(setting: Setting, id: string): Promise<void> {
  const client = await setting.connect();
  const path = routes.incident(client.cluster, id);
  const { value, sent } = await client.call(incidentStorySchema, { method: 'GET', path });
  if (setting.json) printJson(setting.io, sent);
  else setting.io.data(incidentText(value));
}

export const registerIncident: Register = (program, io) => {
  const incident = program.command('incident').description('Failovers and failures, each told as one story');
  incident
    .command('list')
    .description('Show the newest incidents, with their outage')
    .addHelpText('after', '\nExample: holdfast incident list')
    .action((_: unknown, command: Command) => list(settingOf(command, io)));
  incident
    .command('show')
    .argument('<incident>', 'its id, or `last`')
    .description('Tell one incident: what happened when, who was passed over and why, who was told')
    .addHelpText('after', '\nExample: holdfast incident show last')
    .action((id: string, _: unknown, command: Command) => show(settingOf(command, io), id));
};
