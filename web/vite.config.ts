import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

// `npm run dev` shows the page with the data of a server at GOZER (http://127.0.0.1:9000 by default).
const server = process.env.GOZER ?? 'http://127.0.0.1:9000'

export default defineConfig({
  plugins: [svelte()],
  build: { target: 'es2022', emptyOutDir: true },
  server: { host: '127.0.0.1', proxy: { '/api': { target: server, ws: true } } },
  test: { include: ['src/**/*.test.ts'], css: true },
})
