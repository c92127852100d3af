// A service that says who answered: node backend.js, with NAME and PORT from the environment.
import('node:http').then(({ createServer }) => {
  const { NAME = 'orders', PORT = '4001' } = process.env
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ from: NAME, method: request.method, url: request.url }) + '\n')
  })
  server.listen(Number(PORT), () => { console.log(`${NAME} listens on ${server.address().port}`) })
  process.on('SIGTERM', () => { server.close(() => process.exit(0)) })
})
