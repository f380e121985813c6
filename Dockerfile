# The gateway. Build: docker build -t nightshift-gateway .
# Run: docker run -p 9487:9487 -v nightshift:/data -e OPENAI_API_KEY -e BATCH_SERVER_API_KEY nightshift-gateway
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json .tsconfig.build.json ./
COPY src ./src
RUN node node_modules/typescript/bin/tsc -p .tsconfig.build.json

FROM node:24-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24-slim
LABEL org.opencontainers.image.title="Nightshift gateway" \
      org.opencontainers.image.description="Ordinary OpenAI calls in, half-price batches out" \
      org.opencontainers.image.licenses="MIT"
COPY package.json LICENSE /app/
COPY --from=packages /app/node_modules /app/node_modules
COPY --from=build /app/dist /app/dist
RUN mkdir -m 700 /data && chown node:node /data
ENV NODE_ENV=production \
    NIGHTSHIFT_HOST=0.0.0.0 \
    NIGHTSHIFT_PORT=9487 \
    NIGHTSHIFT_DATA_DIR=/data
VOLUME /data
WORKDIR /data
USER node
EXPOSE 9487
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
  CMD ["node", "/app/dist/cli/main.js", "gateway", "health"]
ENTRYPOINT ["node", "/app/dist/cli/main.js", "gateway"]
