BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE answers (
	caller VARCHAR(16) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	request VARCHAR(64) NOT NULL, 
	since DATETIME NOT NULL, 
	running_until DATETIME, 
	status INTEGER NOT NULL, 
	body JSON, 
	CONSTRAINT pk_answers PRIMARY KEY (caller, "key")
);
INSERT INTO "answers" VALUES('abcdefghijkl','key-1','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','2036-10-29 12:00:00.000000',NULL,202,'{"deployment_id": "d-serving", "message": "model serving is being deployed"}');
CREATE TABLE changes (
	name VARCHAR(16) NOT NULL, 
	count INTEGER NOT NULL, 
	CONSTRAINT pk_changes PRIMARY KEY (name)
);
INSERT INTO "changes" VALUES('everything',1);
CREATE TABLE demands (
	worker VARCHAR(32) NOT NULL, 
	deployment_id VARCHAR(32) NOT NULL, 
	in_flight INTEGER NOT NULL, 
	waiting INTEGER NOT NULL, 
	places INTEGER NOT NULL, 
	asked_at FLOAT NOT NULL, 
	at FLOAT NOT NULL, 
	CONSTRAINT pk_demands PRIMARY KEY (worker, deployment_id), 
	CONSTRAINT fk_demands_deployment_id FOREIGN KEY(deployment_id) REFERENCES deployments (id) ON DELETE CASCADE
);
INSERT INTO "demands" VALUES('w1','d-serving',3,2,8,1793534400.0,1793534401.0);
INSERT INTO "demands" VALUES('folded','d-sleep',0,0,0,1793530000.0,0.0);
CREATE TABLE deployments (
	number INTEGER NOT NULL, 
	id VARCHAR(32) NOT NULL, 
	model_id VARCHAR(63) NOT NULL, 
	model_type VARCHAR(32) NOT NULL, 
	wanted JSON NOT NULL, 
	served JSON, 
	replicas INTEGER NOT NULL, 
	latest INTEGER NOT NULL, 
	failures INTEGER NOT NULL, 
	retry_at FLOAT, 
	gave_up BOOLEAN NOT NULL, 
	abandoned VARCHAR(64) NOT NULL, 
	abandoned_for TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	removal VARCHAR(8), 
	created_at DATETIME NOT NULL, 
	updated_at DATETIME NOT NULL, dormant BOOLEAN DEFAULT 0 NOT NULL, held_until FLOAT, 
	CONSTRAINT pk_deployments PRIMARY KEY (number), 
	CONSTRAINT uq_deployments_id UNIQUE (id), 
	CONSTRAINT uq_deployments_model_id UNIQUE (model_id)
);
INSERT INTO "deployments" VALUES(1,'d-serving','serving','multimodal','{"number": 2, "config": {"name": "Echo", "version": "2.0.0", "model_type": "multimodal", "framework": "onnx", "docker_image": "tests/echo:2.0.0", "resource_requirements": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "0"}, "scaling": {"min_replicas": 1, "max_replicas": 2, "target_cpu_utilization": 80}, "environment_variables": {"GREETING": "hi"}, "resources": {"cpu_millicores": 500, "memory_bytes": 536870912, "gpus": 0}}}','{"number": 2, "config": {"name": "Echo", "version": "2.0.0", "model_type": "multimodal", "framework": "onnx", "docker_image": "tests/echo:2.0.0", "resource_requirements": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "0"}, "scaling": {"min_replicas": 1, "max_replicas": 2, "target_cpu_utilization": 80}, "environment_variables": {"GREETING": "hi"}, "resources": {"cpu_millicores": 500, "memory_bytes": 536870912, "gpus": 0}}}',2,2,0,NULL,0,'','','',NULL,'2026-11-01 12:00:00.000000','2026-11-01 13:00:00.000000',0,1793534400.0);
INSERT INTO "deployments" VALUES(2,'d-rolled','rolled-back','multimodal','{"number": 1, "config": {"name": "Echo", "version": "1.0.0", "model_type": "multimodal", "framework": "onnx", "docker_image": "tests/echo:1.0.0", "resource_requirements": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "0"}, "scaling": {"min_replicas": 1, "max_replicas": 2, "target_cpu_utilization": 80}, "environment_variables": {"GREETING": "hi"}, "resources": {"cpu_millicores": 500, "memory_bytes": 536870912, "gpus": 0}}}','{"number": 1, "config": {"name": "Echo", "version": "1.0.0", "model_type": "multimodal", "framework": "onnx", "docker_image": "tests/echo:1.0.0", "resource_requirements": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "0"}, "scaling": {"min_replicas": 1, "max_replicas": 2, "target_cpu_utilization": 80}, "environment_variables": {"GREETING": "hi"}, "resources": {"cpu_millicores": 500, "memory_bytes": 536870912, "gpus": 0}}}',1,2,0,NULL,0,'2.0.0','it was not ready within 180 s','',NULL,'2026-11-01 12:00:00.000000','2026-11-01 12:00:00.000000',0,NULL);
INSERT INTO "deployments" VALUES(3,'d-gave','gave-up','multimodal','{"number": 1, "config": {"name": "Echo", "version": "1.0.0", "model_type": "multimodal", "framework": "onnx", "docker_image": "tests/echo:1.0.0", "resource_requirements": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "0"}, "scaling": {"min_replicas": 1, "max_replicas": 2, "target_cpu_utilization": 80}, "environment_variables": {"GREETING": "hi"}, "resources": {"cpu_millicores": 500, "memory_bytes": 536870912, "gpus": 0}}}','null',1,1,5,NULL,1,'','','the process ended with exit code 1',NULL,'2026-11-01 12:00:00.000000','2026-11-01 12:00:00.000000',0,NULL);
INSERT INTO "deployments" VALUES(4,'d-sleep','sleeping','multimodal','{"number": 1, "config": {"name": "Echo", "version": "1.0.0", "model_type": "multimodal", "framework": "onnx", "docker_image": "tests/echo:1.0.0", "resource_requirements": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "0"}, "scaling": {"min_replicas": 0, "max_replicas": 2, "target_cpu_utilization": 80}, "environment_variables": {"GREETING": "hi"}, "resources": {"cpu_millicores": 500, "memory_bytes": 536870912, "gpus": 0}}}','{"number": 1, "config": {"name": "Echo", "version": "1.0.0", "model_type": "multimodal", "framework": "onnx", "docker_image": "tests/echo:1.0.0", "resource_requirements": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "0"}, "scaling": {"min_replicas": 0, "max_replicas": 2, "target_cpu_utilization": 80}, "environment_variables": {"GREETING": "hi"}, "resources": {"cpu_millicores": 500, "memory_bytes": 536870912, "gpus": 0}}}',0,1,0,NULL,0,'','','',NULL,'2026-11-01 12:00:00.000000','2026-11-01 12:00:00.000000',1,NULL);
INSERT INTO "deployments" VALUES(5,'d-gone','being-deleted','multimodal','{"number": 1, "config": {"name": "Echo", "version": "1.0.0", "model_type": "multimodal", "framework": "onnx", "docker_image": "tests/echo:1.0.0", "resource_requirements": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "0"}, "scaling": {"min_replicas": 1, "max_replicas": 2, "target_cpu_utilization": 80}, "environment_variables": {"GREETING": "hi"}, "resources": {"cpu_millicores": 500, "memory_bytes": 536870912, "gpus": 0}}}','{"number": 1, "config": {"name": "Echo", "version": "1.0.0", "model_type": "multimodal", "framework": "onnx", "docker_image": "tests/echo:1.0.0", "resource_requirements": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "0"}, "scaling": {"min_replicas": 1, "max_replicas": 2, "target_cpu_utilization": 80}, "environment_variables": {"GREETING": "hi"}, "resources": {"cpu_millicores": 500, "memory_bytes": 536870912, "gpus": 0}}}',1,1,0,NULL,0,'','','','drain','2026-11-01 12:00:00.000000','2026-11-01 12:00:00.000000',0,NULL);
CREATE TABLE events (
	number INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	model_id VARCHAR(63) NOT NULL, 
	deployment_id VARCHAR(32) NOT NULL, 
	actor VARCHAR(128) NOT NULL, 
	action VARCHAR(32) NOT NULL, 
	details JSON NOT NULL, 
	CONSTRAINT pk_events PRIMARY KEY (number)
);
INSERT INTO "events" VALUES(1,'2026-11-01 12:00:00.000000','serving','d-serving','admin','deploy','{"version": "1.0.0"}');
INSERT INTO "events" VALUES(2,'2026-11-01 13:00:00.000000','sleeping','d-sleep','autoscaler','rest','{"from": 1, "to": 0, "reason": "nobody asked for 300 s"}');
CREATE TABLE keys (
	id VARCHAR(16) NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	role VARCHAR(8) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	created_at DATETIME NOT NULL, 
	expires_at DATETIME, 
	last_used_at DATETIME, 
	revoked_at DATETIME, 
	CONSTRAINT pk_keys PRIMARY KEY (id)
);
INSERT INTO "keys" VALUES('abcdefghijkl','operator of the team','operator','0000000000000000000000000000000000000000000000000000000000000000','2026-11-01 12:00:00.000000',NULL,NULL,NULL);
CREATE TABLE leases (
	name VARCHAR(16) NOT NULL, 
	held_by VARCHAR(64) NOT NULL, 
	held_until FLOAT NOT NULL, 
	CONSTRAINT pk_leases PRIMARY KEY (name)
);
CREATE TABLE replicas (
	number INTEGER NOT NULL, 
	id VARCHAR(32) NOT NULL, 
	deployment_id VARCHAR(32) NOT NULL, 
	revision JSON NOT NULL, 
	state VARCHAR(8) NOT NULL, 
	created_at DATETIME NOT NULL, 
	changed_at DATETIME NOT NULL, 
	ready_at DATETIME, 
	address TEXT NOT NULL, 
	gpus JSON NOT NULL, 
	reason TEXT NOT NULL, 
	log_tail TEXT NOT NULL, 
	cpu_millicores INTEGER NOT NULL, 
	memory_bytes BIGINT NOT NULL, 
	CONSTRAINT pk_replicas PRIMARY KEY (number), 
	CONSTRAINT fk_replicas_deployment_id FOREIGN KEY(deployment_id) REFERENCES deployments (id) ON DELETE CASCADE, 
	CONSTRAINT uq_replicas_id UNIQUE (id)
);
INSERT INTO "replicas" VALUES(1,'r-ready','d-serving','{"number": 2, "config": {"name": "Echo", "version": "2.0.0", "model_type": "multimodal", "framework": "onnx", "docker_image": "tests/echo:2.0.0", "resource_requirements": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "0"}, "scaling": {"min_replicas": 1, "max_replicas": 2, "target_cpu_utilization": 80}, "environment_variables": {"GREETING": "hi"}, "resources": {"cpu_millicores": 500, "memory_bytes": 536870912, "gpus": 0}}}','ready','2026-11-01 12:00:00.000000','2026-11-01 12:00:03.000000','2026-11-01 12:00:03.000000','unix:/home/r-ready/socket','[]','','',120,134217728);
INSERT INTO "replicas" VALUES(2,'r-silent','d-serving','{"number": 2, "config": {"name": "Echo", "version": "2.0.0", "model_type": "multimodal", "framework": "onnx", "docker_image": "tests/echo:2.0.0", "resource_requirements": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "0"}, "scaling": {"min_replicas": 1, "max_replicas": 2, "target_cpu_utilization": 80}, "environment_variables": {"GREETING": "hi"}, "resources": {"cpu_millicores": 500, "memory_bytes": 536870912, "gpus": 0}}}','silent','2026-11-01 12:00:00.000000','2026-11-01 12:00:09.000000','2026-11-01 12:00:03.000000','unix:/home/r-silent/socket','[0]','','',0,0);
INSERT INTO "replicas" VALUES(3,'r-failed','d-gave','{"number": 1, "config": {"name": "Echo", "version": "1.0.0", "model_type": "multimodal", "framework": "onnx", "docker_image": "tests/echo:1.0.0", "resource_requirements": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "0"}, "scaling": {"min_replicas": 1, "max_replicas": 2, "target_cpu_utilization": 80}, "environment_variables": {"GREETING": "hi"}, "resources": {"cpu_millicores": 500, "memory_bytes": 536870912, "gpus": 0}}}','failed','2026-11-01 12:00:00.000000','2026-11-01 12:00:09.000000',NULL,'','[]','the process ended with exit code 1','Traceback',0,0);
INSERT INTO "replicas" VALUES(4,'r-drain','d-gone','{"number": 1, "config": {"name": "Echo", "version": "1.0.0", "model_type": "multimodal", "framework": "onnx", "docker_image": "tests/echo:1.0.0", "resource_requirements": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "0"}, "scaling": {"min_replicas": 1, "max_replicas": 2, "target_cpu_utilization": 80}, "environment_variables": {"GREETING": "hi"}, "resources": {"cpu_millicores": 500, "memory_bytes": 536870912, "gpus": 0}}}','draining','2026-11-01 12:00:00.000000','2026-11-01 12:00:09.000000',NULL,'','[]','','',0,0);
CREATE INDEX ix_deployments_model_type ON deployments (model_type);
CREATE INDEX ix_events_model_id ON events (model_id);
CREATE INDEX ix_replicas_deployment_id ON replicas (deployment_id);
CREATE INDEX ix_replicas_state ON replicas (state);
COMMIT;
