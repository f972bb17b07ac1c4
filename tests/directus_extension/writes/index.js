// Writes that no request of Directus's own interface makes: without accountability (Directus
// then writes no row into its activity log), and in a transaction that stays open.

const MAXIMUM_AGE = 120_000; // milliseconds; a transaction that a test forgot is rolled back

export default {
  id: "writes",
  handler: (router, { database, getSchema, services }) => {
    const open = new Map();

    async function write(knex, { collection, action, keys, payload, logged = true, emit = true }, who) {
      const service = new services.ItemsService(collection, {
        knex,
        schema: await getSchema(),
        accountability: logged ? who : null,
      });
      const options = { emitEvents: emit };
      if (action === "create") return service.createMany([payload].flat(), options);
      if (action === "update-list") return service.updateBatch(payload, options);
      if (action === "update") return service.updateMany(keys, payload, options);
      return service.deleteMany(keys, options);
    }

    function answer(work) {
      return async (request, response) => {
        try {
          response.json({ data: (await work(request)) ?? null });
        } catch (error) {
          response.status(error.status ?? 500);
          response.json({ errors: [{ message: String(error.message), extensions: { code: "WRITES" } }] });
        }
      };
    }

    async function end(id, how) {
      const transaction = open.get(id);
      if (!transaction) throw new Error(`There is no open transaction ${id}.`);
      open.delete(id);
      clearTimeout(transaction.timer);
      await transaction.knex[how]();
    }

    router.post("/", answer((request) => write(database, request.body, request.accountability)));

    router.post("/transactions", answer(async (request) => {
      const knex = await database.transaction();
      try {
        const keys = [];
        for (const each of request.body.writes) {
          keys.push(await write(knex, each, request.accountability));
        }
        const id = crypto.randomUUID();
        const timer = setTimeout(() => end(id, "rollback").catch(() => {}), MAXIMUM_AGE);
        open.set(id, { knex, timer: timer.unref() });
        return { id, keys };
      } catch (error) {
        await knex.rollback();
        throw error;
      }
    }));

    router.post("/transactions/:id/commit", answer((request) => end(request.params.id, "commit")));
    router.post("/transactions/:id/rollback", answer((request) => end(request.params.id, "rollback")));
  },
};
