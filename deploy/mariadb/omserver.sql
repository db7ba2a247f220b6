-- mariadb < omserver.sql, with a password of your own, and the network of your masters and workers.
CREATE DATABASE omserver CHARACTER SET utf8mb4;
CREATE USER 'omserver'@'10.0.0.%' IDENTIFIED BY 'PASSWORD';
GRANT ALL ON omserver.* TO 'omserver'@'10.0.0.%';
