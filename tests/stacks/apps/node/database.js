import pg from "pg";

// PGHOST, PGUSER and PGDATABASE say where.
export const pool = new pg.Pool({ max: 5 });

// An idle connection that breaks is replaced; without this line it would end the process.
pool.on("error", (error) => console.error(error.message));
