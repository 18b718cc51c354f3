/** The coordinator's Worker: HTTP in, calls of the objects, problem documents out. */
import { Hono } from 'hono';
import { secureHeaders } from 'hono/secure-headers';
import { addRoutes, type Bindings, methodsFor, ProblemException, problem, problemResponse } from './routes/index.ts';

export { Cluster } from './cluster/index.ts';
export { Registry } from './registry/index.ts';
export { Webhooks } from './webhooks/index.ts';

const app = new Hono<Bindings>();

app.use(async (c, next) => {
  await next();
  // An upgrade hands over a socket; its response takes no further headers.
  if (c.res.status === 101) return;
  await secureHeaders()(c, async () => {});
  c.header('cache-control', 'no-store');
  for (const [name, value] of Object.entries(c.get('headers') ?? {})) c.header(name, value);
});

addRoutes(app);

app.notFound((c) => {
  const methods = methodsFor(c.req.path);
  if (methods.length === 0) return problemResponse(problem('not-found', `there is nothing at ${c.req.path}`));
  const allow = methods.join(', ');
  return problemResponse(
    problem('method-not-allowed', `${c.req.path} knows ${allow}, not ${c.req.method}`, undefined, { allow }),
  );
});

app.onError((error) => {
  if (error instanceof ProblemException) return problemResponse(error);
  // Told to the operator's log only: a message from deep inside may name what a stranger should not read.
  console.error(error);
  return problemResponse(
    problem('internal', 'the coordinator failed at this request; what was asked may or may not have been done'),
  );
});

export default app;
